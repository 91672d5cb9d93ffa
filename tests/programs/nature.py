"""Living things, molecules, stars and the ground."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(31)


def lotka_volterra_rk4(rates, start, dt=0.1, steps=5):
    """Predators and prey by Runge and Kutta's classical method: the whole path."""
    a, b, c, d = rates

    def f(z):
        x, y = z
        return np.array([a * x - b * x * y, c * x * y - d * y])

    path = [start]
    z = start
    for _ in range(steps):
        k1 = f(z)
        k2 = f(z + 0.5 * dt * k1)
        k3 = f(z + 0.5 * dt * k2)
        k4 = f(z + dt * k3)
        z = z + dt * (k1 + 2 * k2 + 2 * k3 + k4) / 6
        path.append(z)
    return np.vstack(path)


def lotka_volterra_adaptive(rates, start, horizon=0.8, tol=1e-4):
    """The same by Bogacki and Shampine's pair with steps that are chosen from the error."""
    a, b, c, d = rates
    f = lambda z: np.stack([a * z[0] - b * z[0] * z[1], c * z[0] * z[1] - d * z[1]])
    t, dt = 0.0, 0.2
    z = start
    k1 = f(z)
    rejected = 0
    while t < horizon - 1e-12:
        dt = min(dt, horizon - t)
        k2 = f(z + dt * k1 / 2)
        k3 = f(z + dt * 3 * k2 / 4)
        new = z + dt * (2 * k1 + 3 * k2 + 4 * k3) / 9
        k4 = f(new)
        error = dt * np.max(np.abs(-5 * k1 / 72 + k2 / 12 + k3 / 9 - k4 / 8))
        if error < tol:
            t, z, k1 = t + dt, new, k4
            dt *= 1.5
        else:
            rejected += 1
            dt *= 0.5
    return z


def sir_with_ages(beta, gamma, contacts, start, dt=0.5, steps=6):
    """Susceptible, infected and removed in age groups; the height of the wave and the final sizes."""
    S, I, R = start
    infected = []
    for _ in range(steps):
        new = np.minimum(dt * beta * S * (contacts @ I), S)
        recovered = dt * gamma * I
        S = S - new
        I = I + new - recovered
        R = R + recovered
        infected.append(np.sum(I))
    return np.max(np.stack(infected)), R


def renewal_likelihood(log_r, cases, generation=(0.2, 0.5, 0.3)):
    """Cori's estimate: Poisson likelihood of daily cases given those before."""
    w = np.asarray(generation)
    loglik = 0.0
    for t in range(len(w), len(cases)):
        pressure = np.dot(cases[t - len(w) : t][::-1], w)
        mean = np.exp(log_r[t // 3]) * pressure
        loglik += cases[t] * np.log(mean) - mean
    return loglik - 0.5 * np.sum(np.diff(log_r) ** 2)


def felsenstein_pruning(branch, kappa, freqs, tree=(), tips=None):
    """Likelihood of an alignment on a tree under a model with transitions and transversions."""
    pi = freqs / freqs.sum()
    Q = np.outer(np.ones(4), pi)
    kind = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])
    Q = Q * np.where(kind, kappa, 1.0)
    Q = Q * (1 - np.eye(4))
    Q = Q - np.diag(Q.sum(axis=1))
    Q = Q / -np.sum(pi * np.diag(Q))
    s = np.sqrt(pi)
    w, V = np.linalg.eigh(s[:, None] * Q / s[None, :])
    left, right = V / s[:, None], V.T * s

    partial = dict(enumerate(tips))
    for parent, a, b in tree:
        P = [left @ np.diag(np.exp(w * branch[child])) @ right for child in (a, b)]
        partial[parent] = (partial[a] @ P[0].T) * (partial[b] @ P[1].T)
    return np.sum(np.log(partial[tree[-1][0]] @ pi))


def needleman_wunsch(similarity, gap):
    """The best global alignment's score, cells in a list of lists."""
    n, m = similarity.shape
    F = [[j * gap for j in range(m + 1)]]
    for i in range(1, n + 1):
        row = [i * gap]
        for j in range(1, m + 1):
            diagonal = F[i - 1][j - 1] + similarity[i - 1, j - 1]
            row.append(np.maximum(np.maximum(diagonal, F[i - 1][j] + gap), row[j - 1] + gap))
        F.append(row)
    return F[n][m]


def hodgkin_huxley(current, conductances, dt=0.05, steps=5):
    """A squid's axon with exponential Euler for the gates, state in one array."""
    gna, gk, gl = conductances
    y = np.array([-65.0, 0.05, 0.6, 0.32])

    def rates(v):
        am = 0.1 * (v + 40) / (1 - np.exp(-(v + 40) / 10))
        bm = 4 * np.exp(-(v + 65) / 18)
        ah = 0.07 * np.exp(-(v + 65) / 20)
        bh = 1 / (1 + np.exp(-(v + 35) / 10))
        an = 0.01 * (v + 55) / (1 - np.exp(-(v + 55) / 10))
        bn = 0.125 * np.exp(-(v + 65) / 80)
        return np.stack([am, ah, an]), np.stack([bm, bh, bn])

    for k in range(steps):
        v, m, h, n = y
        a, b = rates(v)
        y[1:] = a / (a + b) + (y[1:] - a / (a + b)) * np.exp(-dt * (a + b))
        ionic = gna * m**3 * h * (v - 50) + gk * n**4 * (v + 77) + gl * (v + 54.4)
        y[0] += dt * (current[k] - ionic)
    return y


def leaky_neurons(weights, drive, threshold=1.0, dt=0.1, steps=6):
    """Integrate-and-fire with a smooth spike, reset by a mask on the potential."""
    v = np.zeros_like(drive)
    rate = np.zeros_like(drive)
    for _ in range(steps):
        soft = 1 / (1 + np.exp(-8 * (v - threshold)))
        v = v + dt * (-v + drive + weights @ soft)
        rate = rate + soft
        fired = v > threshold
        v = np.where(fired, v - threshold, v)
    return v, rate / steps


def population_projection(fertility, survival, n0, years=4):
    """Leslie's matrix: numbers by age, growth per year, elasticity from the leading eigenvector by powers."""
    k = len(fertility)
    L = np.vstack([fertility, np.hstack([np.diag(survival), np.zeros((k - 1, 1))])])
    n = n0
    for _ in range(years):
        n = L @ n
    v = np.ones(k) / k
    for _ in range(8):
        v = L @ v
        growth = v.sum()
        v /= growth
    return n, growth


def michaelis_menten_fit(log_params, substrate, velocity):
    """Weighted least squares for an enzyme with inhibition by too much substrate."""
    vmax, km, ki = np.exp(log_params)
    predicted = vmax * substrate / (km + substrate * (1 + substrate / ki))
    return np.average((predicted - velocity) ** 2, weights=1 / velocity)


def robertson_kinetics(k, start, dt=0.05, steps=2, newtons=3):
    """Three stiff reactions by implicit Euler, each step solved by Newton with its Jacobian."""
    k1, k2, k3 = k
    y = start
    for _ in range(steps):
        z = y
        for _ in range(newtons):
            a, b, c = z
            r1, r2, r3 = k1 * a, k2 * b * b, k3 * b * c
            f = np.stack([-r1 + r3, r1 - r2 - r3, r2])
            zero = 0 * a
            J = np.stack(
                [
                    np.stack([-k1 + zero, k3 * c, k3 * b]),
                    np.stack([k1 + zero, -2 * k2 * b - k3 * c, -k3 * b]),
                    np.stack([zero, 2 * k2 * b, zero]),
                ]
            )
            z = z - np.linalg.solve(np.eye(3) - dt * J, z - y - dt * f)
        y = z
    return y


def structure_factor(hkl, xyz, occupancy, b_iso, cell):
    """X-ray intensities of a crystal's reflections with thermal factors."""
    phase = 2 * np.pi * np.dot(hkl, xyz.T)
    s2 = np.sum((hkl / cell) ** 2, axis=1) / 4
    damping = np.exp(-b_iso * s2[:, None])
    F = np.sum(occupancy * damping * (np.cos(phase) + 1j * np.sin(phase)), axis=1)
    return np.abs(F) ** 2, np.angle(F)


def huckel_orbitals(alpha, beta, electrons=4, bonds=()):
    """Energies of pi electrons and bond orders."""
    H = np.diag(alpha)
    for b, (i, j) in zip(beta, bonds, strict=True):
        H[i, j] += b
        H[j, i] += b
    energy, C = np.linalg.eigh(H)
    filled = C[:, : electrons // 2]
    density = 2 * filled @ filled.T
    return 2 * energy[: electrons // 2].sum(), np.stack([density[i, j] for i, j in bonds])


def acid_titration(pka, volumes, c_acid=0.1, c_base=0.1, v_acid=10.0, iters=12):
    """pH along a titration by bisection on the charge balance, without a branch, and one step of Newton at the end."""
    ka = 10.0**-pka
    lo, hi = np.zeros_like(volumes) + 1.0, np.zeros_like(volumes) + 13.0

    def charge(ph):
        h = 10.0**-ph
        total = v_acid + volumes
        return h + c_base * volumes / total - 1e-14 / h - c_acid * v_acid / total * ka / (ka + h)

    for _ in range(iters):
        mid = 0.5 * (lo + hi)
        positive = charge(mid) > 0
        lo, hi = np.where(positive, mid, lo), np.where(positive, hi, mid)
    ph = 0.5 * (lo + hi)
    return ph, charge(ph)


def kepler_radial_velocity(times, period, eccentricity, omega, k_star, t0):
    """Kepler's equation by Newton, the true anomaly, the star's velocity."""
    M = 2 * np.pi * (((times - t0) / period) % 1.0)
    E = M + eccentricity * np.sin(M)
    for _ in range(4):
        E = E - (E - eccentricity * np.sin(E) - M) / (1 - eccentricity * np.cos(E))
    nu = 2 * np.arctan2(np.sqrt(1 + eccentricity) * np.sin(E / 2), np.sqrt(1 - eccentricity) * np.cos(E / 2))
    return k_star * (np.cos(nu + omega) + eccentricity * np.cos(omega))


def transit_light_curve(t, radius, impact, u1, u2):
    """A small planet before a star with a dark limb: overlap of discs by cases."""
    d = np.sqrt(t**2 + impact**2)
    inside = d <= 1 - radius
    outside = d >= 1 + radius
    partial = ~inside & ~outside
    ds = np.where(partial, d, 1.0)
    k0 = np.arccos(np.clip((ds**2 + radius**2 - 1) / (2 * ds * radius), -1, 1))
    k1 = np.arccos(np.clip((ds**2 + 1 - radius**2) / (2 * ds), -1, 1))
    lens = radius**2 * k0 + k1 - 0.5 * np.sqrt(np.maximum(4 * ds**2 - (1 + ds**2 - radius**2) ** 2, 1e-300))
    area = np.select([inside, partial], [np.pi * radius**2, lens], default=0.0)
    mu = np.sqrt(np.clip(1 - d**2, 0.01, None))
    limb = (1 - u1 * (1 - mu) - u2 * (1 - mu) ** 2) / (1 - u1 / 3 - u2 / 6)
    return 1 - area / np.pi * limb


def radiative_transfer(temperature, opacity, surface, wavelengths, mu=0.8):
    """Emission through a layered atmosphere, layer after layer from the ground up, by Planck's law."""
    planck = lambda T: 1.0 / (wavelengths**5 * np.expm1(1.44 / (wavelengths * T)))
    intensity = planck(surface)
    tau = opacity / mu
    for layer in range(len(temperature) - 1, -1, -1):
        transmitted = np.exp(-tau[layer])
        intensity = intensity * transmitted + planck(temperature[layer]) * (1 - transmitted)
    return np.trapezoid(intensity, wavelengths), np.exp(-tau.sum(axis=0))


def seismic_travel_time(velocity, p, source_depth=0.5, dz=1.0):
    """Times and distances of rays through flat layers by Snell's law; what is beyond the turning point counts nothing."""
    slowness = 1 / velocity
    eta2 = slowness[:, None] ** 2 - p[None, :] ** 2
    travels = np.logical_and.accumulate(eta2 > 0, axis=0)
    eta = np.sqrt(np.where(travels, eta2, 1.0))
    thickness = np.where(np.arange(len(velocity)) == 0, dz - source_depth, dz)[:, None]
    X = 2 * np.sum(np.where(travels, thickness * p / eta, 0.0), axis=0)
    T = 2 * np.sum(np.where(travels, thickness * slowness[:, None] ** 2 / eta, 0.0), axis=0)
    return X, T


def kriging(sites, values, query, sill, reach, nugget):
    """Ordinary kriging with an exponential variogram: mean and variance."""

    def dist(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1) + 1e-12)

    gamma = lambda h: nugget + sill * (1 - np.exp(-h / reach))
    n = len(sites)
    G = np.ones((n + 1, n + 1))
    G[:n, :n] = gamma(dist(sites, sites))
    G[n, n] = 0.0
    g = np.vstack([gamma(dist(sites, query)), np.ones((1, len(query)))])
    w = np.linalg.solve(G, g)
    return values @ w[:n], np.einsum("ij,ij->j", w, g)


def bucket_hydrology(rain, evaporation, capacity, k_fast, k_slow):
    """Rainfall to runoff through two stores, with what spills over."""
    soil, ground = 0.5 * capacity, 1.0
    flow = []
    for p, e in zip(rain, evaporation, strict=True):
        soil = soil + p - e * np.minimum(soil / capacity, 1.0)
        spill = np.maximum(soil - capacity, 0.0)
        soil = np.clip(soil, 0.0, capacity)
        seep = k_slow * soil
        soil = soil - seep
        ground += seep - 0.1 * ground
        flow.append(k_fast * spill + 0.1 * ground)
    return np.stack(flow)


def energy_balance_climate(albedo_ice, sensitivity, heat_transport, T, years=3):
    """Budyko's model by latitude: ice where it is cold, heat towards the mean."""
    x = np.linspace(-0.95, 0.95, len(T))
    sun = 340.0 * (1 - 0.24 * (3 * x**2 - 1))
    for _ in range(years):
        ice = 1 / (1 + np.exp((T + 10.0) / 2))
        absorbed = sun * (1 - 0.3 - (albedo_ice - 0.3) * ice)
        T = T + 0.1 * (absorbed - (202.0 + sensitivity * T) + heat_transport * (T.mean() - T))
    return T, np.gradient(T, x)


def great_circles(lat, lon, home):
    """Distances from home and the bearing to each place."""
    lat, lon, home = np.radians(lat), np.radians(lon), np.deg2rad(home)
    dlat, dlon = lat - home[0], lon - home[1]
    a = np.sin(dlat / 2) ** 2 + np.cos(home[0]) * np.cos(lat) * np.sin(dlon / 2) ** 2
    bearing = np.arctan2(
        np.sin(dlon) * np.cos(lat), np.cos(home[0]) * np.sin(lat) - np.sin(home[0]) * np.cos(lat) * np.cos(dlon)
    )
    return 2 * 6371.0 * np.arcsin(np.sqrt(a)), np.degrees(bearing) % 360


tips = np.eye(4)[np.array([[0, 1, 2, 3, 0], [0, 1, 2, 1, 0], [2, 1, 2, 3, 0], [2, 3, 2, 3, 1]])]
tree = ((4, 0, 1), (5, 2, 3), (6, 4, 5))

PROGRAMS = [
    Program(
        "ecology",
        lotka_volterra_rk4,
        (np.array([1.1, 0.4, 0.1, 0.4]), np.array([10.0, 5.0])),
        {"steps": 3},
        creates=True,
    ),
    Program(
        "ecology",
        lotka_volterra_adaptive,
        (np.array([1.1, 0.4, 0.1, 0.4]), np.array([10.0, 5.0])),
        refused={"jit": "np.where(condition, a, b)", "vmap": "np.where(condition, a, b)"},
    ),
    Program(
        "epidemiology",
        sir_with_ages,
        (0.8, 0.3, rng.uniform(0.2, 0.6, (2, 2)), np.array([[0.9, 0.8], [0.1, 0.15], [0.0, 0.05]])),
    ),
    Program(
        "epidemiology", renewal_likelihood, (0.1 * rng.normal(size=3), np.array([8, 9, 12, 10, 15, 18, 17, 22, 20]))
    ),
    Program(
        "phylogenetics",
        felsenstein_pruning,
        (rng.uniform(0.05, 0.4, 6), 2.5, np.array([0.3, 0.2, 0.28, 0.22])),
        {"tree": tree, "tips": tips},
        rtol=1e-8,
        rounds="np.linalg.eigh, whose matrix is symmetric to rounding",
    ),
    Program("bioinformatics", needleman_wunsch, (rng.normal(size=(3, 4)), -0.6)),
    Program(
        "neuroscience", hodgkin_huxley, (np.full(4, 10.0), np.array([120.0, 36.0, 0.3])), {"steps": 3}, creates=True
    ),
    Program("neuroscience", leaky_neurons, (0.5 * rng.normal(size=(4, 4)), rng.uniform(0.5, 3, 4))),
    Program(
        "ecology",
        population_projection,
        (np.array([0.0, 1.5, 0.9]), np.array([0.5, 0.7]), np.array([50.0, 20.0, 10.0])),
    ),
    Program(
        "biochemistry",
        michaelis_menten_fit,
        (np.array([0.5, -0.3, 1.5]), np.array([0.2, 0.5, 1.0, 2.0, 4.0]), np.array([0.3, 0.6, 0.8, 0.9, 0.8])),
    ),
    Program(
        "chemical kinetics", robertson_kinetics, (np.array([0.4, 3.0, 1.0]), np.array([1.0, 0.1, 0.2])), {"steps": 1}
    ),
    Program(
        "crystallography",
        structure_factor,
        (
            np.array([[1, 0, 0], [1, 1, 0], [2, 1, 1]]),
            rng.random((4, 3)),
            rng.uniform(0.5, 1, 4),
            rng.uniform(0.5, 2, 4),
            np.array([5.0, 6.0, 7.0]),
        ),
    ),
    Program(
        "quantum chemistry",
        huckel_orbitals,
        (np.array([0.0, -0.1, 0.05, 0.2]), np.array([-1.0, -0.8, -1.1])),
        {"bonds": ((0, 1), (1, 2), (2, 3))},
        rtol=1e-8,
    ),
    Program("chemistry", acid_titration, (4.76, np.array([2.0, 5.0, 8.0]))),
    Program("astronomy", kepler_radial_velocity, (np.array([0.3, 1.1, 2.7, 4.2]), 3.1, 0.3, 0.7, 12.0, 0.2)),
    Program("astronomy", transit_light_curve, (np.linspace(-1.2, 1.21, 8), 0.12, 0.3, 0.4, 0.2)),
    Program(
        "radiative transfer",
        radiative_transfer,
        (np.array([0.6, 0.8, 0.95]), rng.uniform(0.1, 0.8, (3, 5)), 1.0, np.linspace(0.6, 2.5, 5)),
    ),
    Program("seismology", seismic_travel_time, (np.array([2.0, 3.0, 4.5, 6.0]), np.array([0.1, 0.2, 0.3]))),
    Program(
        "geostatistics",
        kriging,
        (rng.random((4, 2)), rng.normal(size=4), rng.random((2, 2)), 1.2, 0.5, 0.1),
        rtol=1e-8,
        creates=True,
    ),
    Program(
        "hydrology",
        bucket_hydrology,
        (np.array([5.0, 0.0, 30.0, 12.0, 1.0]), np.array([2.0, 3.0, 1.0, 1.5, 2.5]), 25.0, 0.6, 0.05),
    ),
    Program(
        "climate",
        energy_balance_climate,
        (0.62, 1.9, 3.7, np.array([-20.0, -2.0, 15.0, 26.0, 14.0, -3.0, -22.0])),
        rounds="np.gradient",
    ),
    Program(
        "navigation",
        great_circles,
        (np.array([48.9, -33.9, 35.7]), np.array([2.3, 151.2, 139.7]), np.array([52.5, 13.4])),
    ),
]
