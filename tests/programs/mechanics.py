"""Particles, fields on grids, and spins."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(11)


def leapfrog(pos, vel, mass, dt=0.01, steps=6, softening=0.1):
    """N bodies under gravity, kicked and drifted in place. Returns where they are and the total energy."""
    pos, vel = pos.copy(), vel.copy()

    def acceleration(p):
        d = p[np.newaxis, :, :] - p[:, np.newaxis, :]
        r2 = (d**2).sum(axis=-1) + softening**2
        inv_r3 = r2**-1.5
        return np.einsum("ijk,ij,j->ik", d, inv_r3, mass)

    acc = acceleration(pos)
    for _ in range(steps):
        vel += 0.5 * dt * acc
        pos += dt * vel
        acc = acceleration(pos)
        vel += 0.5 * dt * acc
    kinetic = 0.5 * np.sum(mass * np.sum(vel**2, axis=1))
    i, j = np.triu_indices(len(mass), k=1)
    r = np.sqrt(np.sum((pos[i] - pos[j]) ** 2, axis=1) + softening**2)
    return pos, kinetic - np.sum(mass[i] * mass[j] / r)


def lennard_jones(positions, box, epsilon=1.0, sigma=1.0, cutoff=2.5, pairs=()):
    """Energy and forces of a periodic fluid from a neighbour list, forces added up with np.add.at."""
    forces = np.zeros_like(positions)
    i, j = pairs[:, 0], pairs[:, 1]
    rij = positions[i] - positions[j]
    rij -= box * np.round(rij / box)
    r2 = np.sum(rij * rij, axis=1)
    inside = r2 < cutoff**2
    sr6 = np.where(inside, (sigma**2 / r2) ** 3, 0.0)
    shift = 4 * epsilon * ((sigma / cutoff) ** 12 - (sigma / cutoff) ** 6)
    energy = np.sum(np.where(inside, 4 * epsilon * (sr6**2 - sr6) - shift, 0.0))
    f = (24 * epsilon * (2 * sr6**2 - sr6) / r2)[:, None] * rij
    np.add.at(forces, i, f)
    np.add.at(forces, j, -f)
    return energy, forces


def ewald_like(charges, r, L, alpha=1.2, kmax=2):
    """Reciprocal part of the electrostatic energy of charges in a cubic box, with the self term."""
    n = np.arange(-kmax, kmax + 1)
    kx, ky, kz = np.meshgrid(n, n, n, indexing="ij")
    k = np.stack([kx, ky, kz], axis=-1).reshape(-1, 3)
    k = k[np.any(k != 0, axis=1)] * (2 * np.pi / L)
    k2 = np.sum(k**2, axis=1)
    S = np.sum(charges * np.exp(1j * (k @ r.T)), axis=1)
    recip = 2 * np.pi / L**3 * np.sum(np.exp(-k2 / (4 * alpha**2)) / k2 * np.abs(S) ** 2)
    return recip - alpha / np.sqrt(np.pi) * np.sum(charges**2)


def ising_energy(J, h, spins):
    """Energy of a spin lattice with periodic neighbours, and of each single flip."""
    neighbours = sum(np.roll(spins, shift, axis) for shift in (-1, 1) for axis in (0, 1))
    energy = -0.5 * J * np.sum(spins * neighbours) - np.sum(h * spins)
    delta = 2 * spins * (J * neighbours + h)
    accept = np.minimum(1.0, np.exp(-delta))
    return energy, accept.mean()


def mean_field_magnetisation(beta, J, h, tol=1e-12, max_iter=60):
    """m = tanh(beta (J m + h)), iterated until it stays: the number of turns depends on the numbers."""
    m, turns, error = 0.5 * np.ones_like(h), 0, np.inf
    while error > tol and turns < max_iter:
        previous, m = m, np.tanh(beta * (J * m + h))
        error = np.max(np.abs(m - previous))
        turns += 1
    return m


def heat_equation(u0, kappa, dx=0.1, dt=0.001, steps=8):
    """Explicit Euler on a square plate with fixed edges, in place."""
    u = u0.copy()
    for _ in range(steps):
        lap = (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]) / dx**2
        u[1:-1, 1:-1] += dt * kappa * lap
    return u


def wave_equation(u0, c, dx=0.1, dt=0.05, steps=8):
    """A string that is held at its left end and absorbs at its right; three time levels that are swapped."""
    prev = u0.copy()
    cur = u0.copy()
    new = np.empty_like(u0)
    r = c * dt / dx
    cur[1:-1] = prev[1:-1] + 0.5 * r**2 * (prev[2:] - 2 * prev[1:-1] + prev[:-2])
    for _ in range(steps):
        new[1:-1] = 2 * cur[1:-1] - prev[1:-1] + r**2 * (cur[2:] - 2 * cur[1:-1] + cur[:-2])
        new[0] = 0.0
        new[-1] = cur[-1] - r * (cur[-1] - cur[-2])
        prev, cur, new = cur, new, prev
    return cur


def crank_nicolson(u, diffusivity, dx=0.2, dt=0.05, steps=3):
    """Implicit diffusion: each step is a tridiagonal solve by Thomas's algorithm."""
    n = u.shape[0]
    r = diffusivity * dt / (2 * dx**2)

    def thomas(lower, diag, upper, rhs):
        c, d = upper.copy(), rhs.copy()
        c[0] /= diag[0]
        d[0] /= diag[0]
        for i in range(1, n):
            m = diag[i] - lower[i] * c[i - 1]
            c[i] /= m
            d[i] = (d[i] - lower[i] * d[i - 1]) / m
        for i in range(n - 2, -1, -1):
            d[i] -= c[i] * d[i + 1]
        return d

    off = -r * np.ones(n)
    diag = (1 + 2 * r) * np.ones(n)
    for _ in range(steps):
        padded = np.pad(u, 1)
        u = thomas(off, diag, off, u + r * (padded[2:] - 2 * u + padded[:-2]))
    return u


def burgers_upwind(u, nu, dx=0.1, dt=0.01, steps=8):
    """Viscous Burgers' equation, upwind by the sign of u, periodic."""
    for _ in range(steps):
        left, right = np.roll(u, 1), np.roll(u, -1)
        ux = np.where(u > 0, u - left, right - u) / dx
        u = u - dt * u * ux + nu * dt / dx**2 * (right - 2 * u + left)
    return u


def gauss_seidel_poisson(rho, boundary, sweeps=4):
    """Red-black Gauss-Seidel with over-relaxation, by slices with strides and a checkerboard mask."""
    phi = np.zeros_like(rho)
    phi[0, :] = boundary
    i, j = np.indices(rho.shape)
    interior = (i > 0) & (i < rho.shape[0] - 1) & (j > 0) & (j < rho.shape[1] - 1)
    for _ in range(sweeps):
        for colour in (0, 1):
            mask = interior & ((i + j) % 2 == colour)
            average = 0.25 * (np.roll(phi, 1, 0) + np.roll(phi, -1, 0) + np.roll(phi, 1, 1) + np.roll(phi, -1, 1) + rho)
            phi[mask] += 1.3 * (average - phi)[mask]
    return phi


def double_pendulum(state, lengths, masses, dt=0.02, steps=2, g=9.81):
    """Classical Runge-Kutta on the angles and their velocities."""
    (l1, l2), (m1, m2) = lengths, masses

    def rhs(s):
        a, b, wa, wb = s
        d = a - b
        den = 2 * m1 + m2 - m2 * np.cos(2 * d)
        da = (
            -g * (2 * m1 + m2) * np.sin(a)
            - m2 * g * np.sin(a - 2 * b)
            - 2 * np.sin(d) * m2 * (wb**2 * l2 + wa**2 * l1 * np.cos(d))
        ) / (l1 * den)
        db = (
            2
            * np.sin(d)
            * (wa**2 * l1 * (m1 + m2) + g * (m1 + m2) * np.cos(a) + wb**2 * l2 * m2 * np.cos(d))
            / (l2 * den)
        )
        return np.stack([wa, wb, da, db])

    for _ in range(steps):
        k1 = rhs(state)
        k2 = rhs(state + dt / 2 * k1)
        k3 = rhs(state + dt / 2 * k2)
        k4 = rhs(state + dt * k3)
        state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return state


def shallow_water(h, u, g, dx=1.0, dt=0.05, steps=4):
    """Lax-Friedrichs for height and momentum between walls."""
    q = np.vstack([h, h * u])
    for _ in range(steps):
        flux = np.empty_like(q)
        flux[0] = q[1]
        flux[1] = q[1] ** 2 / q[0] + 0.5 * g * q[0] ** 2
        mid = 0.5 * (q[:, :-1] + q[:, 1:]) - 0.5 * dt / dx * (flux[:, 1:] - flux[:, :-1])
        fm = np.vstack([mid[1], mid[1] ** 2 / mid[0] + 0.5 * g * mid[0] ** 2])
        q[:, 1:-1] -= dt / dx * (fm[:, 1:] - fm[:, :-1])
        q[0, 0], q[0, -1] = q[0, 1], q[0, -2]
        q[1, 0], q[1, -1] = -q[1, 1], -q[1, -2]
    return q


lattice = np.stack(np.meshgrid(*[np.arange(2) * 1.3] * 3), axis=-1).reshape(-1, 3)
atoms = lattice + rng.normal(scale=0.05, size=lattice.shape)
pairs = np.array([(i, j) for i in range(8) for j in range(i + 1, 8)])
bump = np.exp(-((np.linspace(-1, 1, 12)) ** 2) * 6)
plate = np.outer(np.hanning(7), np.hanning(8)) + 0.1 * rng.random((7, 8))

PROGRAMS = [
    Program("celestial mechanics", leapfrog, (rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.uniform(1, 2, 4))),
    Program(
        "molecular dynamics",
        lennard_jones,
        (atoms, np.array([6.0, 6.5, 7.0])),
        {"pairs": pairs},
        rounds="np.add.at",
    ),
    Program("molecular dynamics", ewald_like, (rng.normal(size=5), rng.uniform(0, 4, (5, 3)), 4.0)),
    Program("statistical physics", ising_energy, (0.4, 0.1 * rng.normal(size=(4, 5)), rng.choice([-1, 1], (4, 5)))),
    Program(
        "statistical physics",
        mean_field_magnetisation,
        (0.6, np.array(0.9), np.array([0.2, 0.4])),
        refused={"jit": "tg.lax.while_loop", "vmap": "tg.lax.while_loop"},
    ),
    Program("partial differential equations", heat_equation, (plate, 0.8)),
    Program("partial differential equations", wave_equation, (bump, 1.1)),
    Program("partial differential equations", crank_nicolson, (bump[:6], 0.7)),
    Program("partial differential equations", burgers_upwind, (bump - 0.3, 0.05)),
    Program("partial differential equations", gauss_seidel_poisson, (plate[:5, :6], rng.random(6))),
    Program(
        "mechanics", double_pendulum, (np.array([1.0, 0.5, 0.1, -0.2]), np.array([1.0, 0.8]), np.array([1.0, 1.5]))
    ),
    Program("fluid dynamics", shallow_water, (1 + 0.2 * bump[:8], 0.1 * bump[:8], 9.81)),
]
