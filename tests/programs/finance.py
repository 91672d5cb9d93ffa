"""Options, portfolios, rates and time series of prices; economics."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(5)


def norm_cdf(x):
    """The normal distribution by Abramowitz and Stegun's 26.2.17."""
    k = 1.0 / (1.0 + 0.2316419 * np.abs(x))
    poly = k * (0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))))
    tail = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) * poly
    return np.where(x >= 0, 1.0 - tail, tail)


def black_scholes(S, K, T, r, sigma, kind="call"):
    """The price of European options."""
    sqrt_t = np.sqrt(T)
    d1 = (np.log(S / K) + (r + 0.5 * sigma**2) * T) / (sigma * sqrt_t)
    d2 = d1 - sigma * sqrt_t
    if kind == "call":
        return S * norm_cdf(d1) - K * np.exp(-r * T) * norm_cdf(d2)
    elif kind == "put":
        return K * np.exp(-r * T) * norm_cdf(-d2) - S * norm_cdf(-d1)
    raise ValueError(kind)


def binomial_american_put(S0, K, T, r, sigma, N=6):
    """Cox, Ross and Rubinstein's tree, rolled back in place with early exercise."""
    dt = T / N
    u = np.exp(sigma * np.sqrt(dt))
    d = 1 / u
    p = (np.exp(r * dt) - d) / (u - d)
    disc = np.exp(-r * dt)
    j = np.arange(N + 1)
    prices = S0 * u**j * d ** (N - j)
    values = np.maximum(K - prices, 0.0)
    for i in range(N - 1, -1, -1):
        values[: i + 1] = disc * (p * values[1 : i + 2] + (1 - p) * values[: i + 1])
        prices = prices[: i + 1] / d
        values[: i + 1] = np.maximum(values[: i + 1], K - prices)
    return values[0]


def asian_monte_carlo(S0, K, r, sigma, shocks, T=1.0):
    """An arithmetic Asian call by simulation with antithetic paths; price and standard error."""
    n_steps = shocks.shape[1]
    dt = T / n_steps
    z = np.concatenate([shocks, -shocks])
    log_paths = np.cumsum((r - 0.5 * sigma**2) * dt + sigma * np.sqrt(dt) * z, axis=1)
    paths = S0 * np.exp(log_paths)
    payoff = np.exp(-r * T) * np.clip(paths.mean(axis=1) - K, 0, None)
    return payoff.mean(), payoff.std(ddof=1) / np.sqrt(len(payoff))


def heston_euler(v0, kappa, theta, xi, rho, shocks, S0=100.0, dt=0.05):
    """Stochastic volatility by Euler steps with full truncation."""
    n_paths, n_steps, _ = shocks.shape
    logS = np.full(n_paths, np.log(S0))
    v = v0 * np.ones(n_paths)
    for t in range(n_steps):
        z1 = shocks[:, t, 0]
        z2 = rho * z1 + np.sqrt(1 - rho**2) * shocks[:, t, 1]
        vplus = np.maximum(v, 0)
        logS = logS - 0.5 * vplus * dt + np.sqrt(vplus * dt) * z1
        v = v + kappa * (theta - vplus) * dt + xi * np.sqrt(vplus * dt) * z2
    return np.exp(logS), v


def implied_volatility(price, S, K, T, r, iters=4):
    """Newton's method on Black and Scholes's formula."""
    sigma = np.full_like(price, 0.3)
    for _ in range(iters):
        d1 = (np.log(S / K) + (r + 0.5 * sigma**2) * T) / (sigma * np.sqrt(T))
        vega = S * np.exp(-0.5 * d1**2) / np.sqrt(2 * np.pi) * np.sqrt(T)
        sigma = sigma - (black_scholes(S, K, T, r, sigma) - price) / vega
    return sigma


def garch_likelihood(params, returns):
    """Negative log likelihood of a GARCH(1, 1) with a constant mean."""
    mu, omega, alpha, beta = params
    eps = returns - mu
    sigma2 = np.var(returns)
    ll = 0.0
    for e in eps:
        ll += -0.5 * (np.log(2 * np.pi) + np.log(sigma2) + e**2 / sigma2)
        sigma2 = omega + alpha * e**2 + beta * sigma2
    return -ll


def markowitz(mu, cov, risk_free, target):
    """Minimum variance for a target return by the KKT system; weights and Sharpe's ratio."""
    n = len(mu)
    ones = np.ones(n)
    kkt = np.block(
        [
            [2 * cov, mu[:, None], ones[:, None]],
            [mu[None, :], np.zeros((1, 2))],
            [ones[None, :], np.zeros((1, 2))],
        ]
    )
    rhs = np.concatenate([np.zeros(n), np.atleast_1d(target), [1.0]])
    w = np.linalg.solve(kkt, rhs)[:n]
    return w, (w @ mu - risk_free) / np.sqrt(w @ cov @ w)


def bond_ladder(beta, tau, coupons, face=100.0):
    """Prices and durations of annual bonds under a Nelson-Siegel curve."""

    def spot(t):
        x = t / tau
        slope = (1 - np.exp(-x)) / x
        return beta[0] + beta[1] * slope + beta[2] * (slope - np.exp(-x))

    prices, durations = [], []
    for maturity, c in enumerate(coupons, start=1):
        t = np.arange(1, maturity + 1, dtype=float)
        cash = np.full(maturity, face) * c
        cash[-1] += face
        pv = cash * np.exp(-spot(t) * t)
        prices.append(pv.sum())
        durations.append((pv * t).sum() / pv.sum())
    return np.stack(prices), np.stack(durations)


def drawdown_and_turnover(weights, returns, cost):
    """A backtest: wealth, the worst loss from a peak, and what trading cost."""
    gross = (weights * returns).sum(axis=1)
    trades = np.abs(np.diff(weights, axis=0, prepend=np.zeros((1, weights.shape[1])))).sum(axis=1)
    wealth = np.cumprod(1 + gross - cost * trades)
    peak = np.maximum.accumulate(wealth)
    return wealth[-1], ((peak - wealth) / peak).max(), trades.sum()


def value_iteration(beta, alpha, depreciation, grid, sweeps=5):
    """Optimal growth on a grid of capital: the value function by repeated maximisation, and the policy's consumption."""
    resources = grid**alpha + (1 - depreciation) * grid
    c = resources[:, None] - grid[None, :]
    feasible = c > 0
    utility = np.where(feasible, np.log(np.where(feasible, c, 1.0)), -1e10)
    V = np.zeros(len(grid))
    for _ in range(sweeps):
        V = np.max(utility + beta * V[None, :], axis=1)
    policy = np.argmax(utility + beta * V[None, :], axis=1)
    return V, resources - grid[policy]


def nested_logit_shares(delta, lam, nest_of=None, n_nests=2):
    """Market shares in a nested logit: inclusive values added up per nest."""
    v = np.exp(delta / lam)
    inclusive = np.bincount(nest_of, weights=v, minlength=n_nests)
    within = v / inclusive[nest_of]
    nest = inclusive**lam
    return within * (nest / (1 + nest.sum()))[nest_of]


returns = rng.normal(scale=0.02, size=12)
A = rng.normal(size=(4, 4))

PROGRAMS = [
    Program(
        "options",
        black_scholes,
        (np.array([90.0, 100.0, 112.0]), 100.0, np.array([0.5, 1.0, 2.0]), 0.03, 0.2),
        {"kind": "put"},
    ),
    Program("options", binomial_american_put, (100.0, 103.0, 1.0, 0.05, 0.25)),
    Program("options", asian_monte_carlo, (100.0, 98.0, 0.02, 0.3, rng.normal(size=(6, 5)))),
    Program("options", heston_euler, (0.04, 1.5, 0.05, 0.3, -0.6, rng.normal(size=(5, 4, 2)))),
    Program(
        "options", implied_volatility, (np.array([12.0, 9.0, 6.5]), 100.0, np.array([97.0, 101.0, 107.0]), 0.8, 0.01)
    ),
    Program("econometrics", garch_likelihood, (np.array([0.1, 0.5, 0.1, 0.8]), 100 * returns)),
    Program(
        "portfolios", markowitz, (rng.uniform(0.02, 0.1, 4), A @ A.T / 50 + 0.05 * np.eye(4), 0.01, 0.07), rtol=1e-8
    ),
    Program("interest rates", bond_ladder, (np.array([0.04, -0.01, 0.02]), 1.8, np.array([0.02, 0.03, 0.05]))),
    Program(
        "portfolios",
        drawdown_and_turnover,
        (rng.uniform(0.1, 0.5, (7, 3)), rng.normal(scale=0.05, size=(7, 3)), 0.002),
    ),
    Program("economics", value_iteration, (0.95, 0.33, 0.1, np.linspace(0.6, 3.0, 7) ** 1.1)),
    Program("economics", nested_logit_shares, (rng.normal(size=5), 0.7), {"nest_of": np.array([0, 1, 0, 1, 1])}),
]
