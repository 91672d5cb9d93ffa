"""Structures, circuits, light and quantum states."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(41)


def truss(areas, nodes, young, elements=None, fixed=(), load=None):
    """Finite elements of bars: stiffness added up with np.ix_, the free part solved, compliance and stresses."""
    n_dof = 2 * len(nodes)
    K = np.zeros((n_dof, n_dof))
    directions, lengths = [], []
    for e, (i, j) in enumerate(elements):
        d = nodes[j] - nodes[i]
        L = np.sqrt(d @ d)
        c = d / L
        B = np.concatenate([-c, c])
        dof = [2 * i, 2 * i + 1, 2 * j, 2 * j + 1]
        K[np.ix_(dof, dof)] += young * areas[e] / L * np.outer(B, B)
        directions.append(B)
        lengths.append(L)
    free = np.setdiff1d(np.arange(n_dof), fixed)
    u = np.zeros(n_dof)
    u[free] = np.linalg.solve(K[np.ix_(free, free)], load[free])
    strain = [
        B @ u[[2 * i, 2 * i + 1, 2 * j, 2 * j + 1]] / L
        for (i, j), B, L in zip(elements, directions, lengths, strict=True)
    ]
    return load @ u, young * np.stack(strain)


def topology_compliance(density, nelx=3, nely=2, penal=3.0):
    """The compliance of a cantilever of squares (SIMP): all element matrices scattered at once by np.add.at."""
    nu = 0.3
    k = np.array([1 / 2 - nu / 6, 1 / 8 + nu / 8, -1 / 4 - nu / 12, -1 / 8 + 3 * nu / 8])
    k = np.concatenate([k, [-1 / 4 + nu / 12, -1 / 8 - nu / 8, nu / 6, 1 / 8 - 3 * nu / 8]])
    order = [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [1, 0, 7, 6, 5, 4, 3, 2],
        [2, 7, 0, 5, 6, 3, 4, 1],
        [3, 6, 5, 0, 7, 2, 1, 4],
        [4, 5, 6, 7, 0, 1, 2, 3],
        [5, 4, 3, 2, 1, 0, 7, 6],
        [6, 3, 4, 1, 2, 7, 0, 5],
        [7, 2, 1, 4, 3, 6, 5, 0],
    ]
    KE = k[np.array(order)] / (1 - nu**2)
    ex, ey = np.meshgrid(np.arange(nelx), np.arange(nely), indexing="ij")
    n1 = ((nely + 1) * ex + ey).ravel()
    n2 = ((nely + 1) * (ex + 1) + ey).ravel()
    edof = np.stack([2 * n1 + 2, 2 * n1 + 3, 2 * n2 + 2, 2 * n2 + 3, 2 * n2, 2 * n2 + 1, 2 * n1, 2 * n1 + 1], axis=1)
    ndof = 2 * (nelx + 1) * (nely + 1)
    E = 1e-3 + density.ravel() ** penal
    K = np.zeros((ndof, ndof))
    np.add.at(K, (edof[:, :, None], edof[:, None, :]), E[:, None, None] * KE)
    f = np.zeros(ndof)
    f[-1] = -1.0
    free = np.arange(2 * (nely + 1), ndof)
    u = np.zeros(ndof)
    u[free] = np.linalg.solve(K[free][:, free], f[free])
    ue = u[edof]
    return f @ u, E * np.einsum("ei,ij,ej->e", ue, KE, ue)


def beam_deflection(EI, load, spring, L=1.0):
    """A beam on an elastic bed by finite differences, the biharmonic as a banded matrix."""
    n = len(EI)
    h = L / (n + 1)
    D2 = (np.diag(-2 * np.ones(n)) + np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)) / h**2
    A = D2 @ (EI[:, None] * D2) + spring * np.eye(n)
    w = np.linalg.solve(A, load)
    moment = -EI * (D2 @ w)
    return w, moment.max()


def modal_analysis(mass, stiffness, damping_ratio, frequencies):
    """A chain of masses: natural frequencies, and the receptance of the first mass by modes."""
    n = len(mass)
    K = np.diag(stiffness[:n] + np.append(stiffness[1:n], 0.0))
    K -= np.diag(stiffness[1:n], 1) + np.diag(stiffness[1:n], -1)
    s = 1 / np.sqrt(mass)
    lam, V = np.linalg.eigh(s[:, None] * K * s)
    omega = np.sqrt(lam)
    phi = s[:, None] * V
    H = np.sum(
        phi[0] ** 2 / (omega**2 - frequencies[:, None] ** 2 + 2j * damping_ratio * omega * frequencies[:, None]), axis=1
    )
    return omega, np.abs(H)


def ladder_filter(R, Lh, C, frequencies):
    """A filter's gain in decibels from a product of two-by-two chain matrices for each frequency."""
    w = 2 * np.pi * frequencies
    T = np.eye(2)[None] * np.ones((len(w), 1, 1), complex)
    for L, c in zip(Lh, C, strict=True):
        series = np.zeros((len(w), 2, 2), complex)
        series[:, 0, 0] = series[:, 1, 1] = 1
        series[:, 0, 1] = 1j * w * L
        shunt = np.zeros((len(w), 2, 2), complex)
        shunt[:, [0, 1], [0, 1]] = 1
        shunt[:, 1, 0] = 1j * w * c
        T = T @ series @ shunt
    gain = 1 / (T[:, 0, 0] + T[:, 0, 1] / R)
    return 20 * np.log10(np.abs(gain)), np.unwrap(np.angle(gain))


def nodal_analysis(conductance, sources, edges=()):
    """Node voltages of a resistor network with node 0 on ground, and the power in each branch."""
    n = len(sources)
    incidence = np.zeros((len(edges), n))
    for e, (i, j) in enumerate(edges):
        incidence[e, i], incidence[e, j] = 1, -1
    G = incidence.T * conductance @ incidence
    v = np.concatenate([np.zeros(1), np.linalg.solve(G[1:, 1:], sources[1:])])
    drop = incidence @ v
    return v, conductance * drop**2


def pipe_network(diameter, demand, roughness, iters=4):
    """Flow in a loop of three pipes by Hardy Cross's corrections."""
    resistance = roughness / diameter**5
    q = np.stack([0.6 * demand, 0.1 * demand, -0.4 * demand])
    for _ in range(iters):
        loss = resistance * q * np.abs(q)
        q = q - loss.sum() / (2 * np.sum(resistance * np.abs(q)))
    return q, np.sum(resistance * np.abs(q) ** 3)


def heat_exchanger(hot_in, cold_in, UA, c_hot, c_cold, cells=4, sweeps=5):
    """Counter-flow in cells, iterated as a fixed point; both profiles."""
    hot = np.ones(cells + 1) * hot_in
    cold = np.ones(cells + 1) * cold_in
    for _ in range(sweeps):
        q = UA / cells * (hot[:-1] + hot[1:] - cold[:-1] - cold[1:]) / 2
        hot = hot_in - np.append(0.0, np.cumsum(q)) / c_hot
        cold = cold_in + np.append(np.cumsum(q[::-1])[::-1], 0.0) / c_cold
    return hot, cold


def vortex_panels(xy, alpha):
    """Lift of a thin cambered line by lumped vortices: an influence matrix and one solve."""
    start, end = xy[:-1], xy[1:]
    d = end - start
    length = np.sqrt((d**2).sum(1))
    tangent = d / length[:, None]
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]])
    vortex, control = start + 0.25 * d, start + 0.75 * d
    r = control[:, None, :] - vortex[None, :, :]
    r2 = (r**2).sum(-1)
    velocity = np.stack([r[..., 1], -r[..., 0]], axis=-1) / (2 * np.pi * r2[..., None])
    A = np.einsum("ijk,ik->ij", velocity, normal)
    wind = np.stack([np.cos(alpha), np.sin(alpha)])
    gamma = np.linalg.solve(A, -normal @ wind)
    return 2 * gamma.sum() / length.sum()


def thin_film_reflectance(thickness, index, wavelengths, angle):
    """Reflectance of a stack of layers by transfer matrices, s-polarised."""
    n = np.concatenate([[1.0 + 0j], index, [1.5 + 0j]])
    cos_t = np.sqrt(1 - (np.sin(angle) / n) ** 2)
    k = n * cos_t
    reflect = []
    for wl in wavelengths:
        M = np.eye(2, dtype=complex)
        for j in range(len(thickness)):
            delta = 2 * np.pi * k[j + 1] * thickness[j] / wl
            layer = np.array(
                [
                    [np.cos(delta), -1j * np.sin(delta) / k[j + 1]],
                    [-1j * k[j + 1] * np.sin(delta), np.cos(delta)],
                ]
            )
            M = M @ layer
        (a, b), (c, d) = M
        top = k[0] * a + k[0] * k[-1] * b - c - k[-1] * d
        bottom = k[0] * a + k[0] * k[-1] * b + c + k[-1] * d
        reflect.append(np.abs(top / bottom) ** 2)
    return np.array(reflect)


def gaussian_beam(q_re, q_im, distances, focal):
    """A beam's width through lenses by the ABCD law for its complex parameter."""
    q = q_re + 1j * q_im
    widths = []
    for d, f in zip(distances, focal, strict=True):
        q = q + d
        widths.append(np.sqrt(-1 / (np.pi * (1 / q).imag)))
        q = q / (1 - q / f)
    return np.stack(widths)


def angular_spectrum(aperture, distance, wavelength=0.5, pitch=1.0):
    """Light behind a mask by the angular spectrum: Fourier, propagate, back; intensity."""
    n, m = aperture.shape
    fx = np.fft.fftfreq(m, pitch)
    fy = np.fft.fftfreq(n, pitch)
    kz2 = (1 / wavelength) ** 2 - fx[None, :] ** 2 - fy[:, None] ** 2
    H = np.exp(2j * np.pi * distance * np.sqrt(np.maximum(kz2, 0)))
    field = np.fft.ifft2(np.fft.fft2(aperture) * H)
    return np.fft.fftshift(np.abs(field) ** 2)


def quantum_circuit(angles, qubits=3):
    """Rotations and controlled flips on a state vector, gates applied by tensordot and moveaxis; expectations of Z."""
    state = np.zeros((2,) * qubits, complex)
    state[(0,) * qubits] = 1.0

    def apply(gate, state, *wires):
        k = len(wires)
        gate = gate.reshape((2,) * (2 * k))
        moved = np.tensordot(gate, state, axes=(range(k, 2 * k), wires))
        return np.moveaxis(moved, range(k), wires)

    X = np.array([[0, 1], [1, 0]])
    Y = np.array([[0, -1j], [1j, 0]])
    cnot = np.eye(4)[[0, 1, 3, 2]]
    for layer in angles:
        for wire in range(qubits):
            a, b = layer[wire]
            rx = np.cos(a / 2) * np.eye(2) - 1j * np.sin(a / 2) * X
            ry = np.cos(b / 2) * np.eye(2) - 1j * np.sin(b / 2) * Y
            state = apply(ry @ rx, state, wire)
        for wire in range(qubits - 1):
            state = apply(cnot, state, wire, wire + 1)
    p = np.abs(state) ** 2
    return np.stack([np.sum(p.take(0, axis=w)) - np.sum(p.take(1, axis=w)) for w in range(qubits)])


def split_step_schrodinger(psi, potential, dt=0.05, steps=3, dx=0.5):
    """A wave packet by Strang's splitting with Fourier transforms: norm, mean place, energy in the potential."""
    k = 2 * np.pi * np.fft.fftfreq(psi.shape[-1], dx)
    kinetic = np.exp(-0.5j * dt * k**2)
    half = np.exp(-0.5j * dt * potential)
    for _ in range(steps):
        psi = half * psi
        psi = np.fft.ifft(kinetic * np.fft.fft(psi))
        psi = half * psi
    density = np.abs(psi) ** 2
    density /= density.sum()
    x = np.arange(len(density)) * dx
    return density @ x, density @ potential


def tight_binding_bands(t, onsite, k):
    """Bands of a chain with two sites, a two-by-two Hermitian matrix for each momentum."""
    n = len(k)
    off = t[0] + t[1] * np.exp(-1j * k)
    H = np.zeros((n, 2, 2), complex)
    H[:, 0, 0], H[:, 1, 1] = onsite, -onsite
    H[:, 0, 1] = off
    H[:, 1, 0] = off.conj()
    bands = np.linalg.eigvalsh(H)
    return bands, (bands[:, 1] - bands[:, 0]).min()


def lindblad(rho, hamiltonian, decay, dt=0.05, steps=3):
    """A density matrix that decays, by Euler steps that keep it Hermitian; purity and entropy."""
    lower = np.array([[0, 1], [0, 0]], complex)
    for _ in range(steps):
        commutator = hamiltonian @ rho - rho @ hamiltonian
        jump = lower @ rho @ lower.T
        loss = lower.T @ lower
        rho = rho + dt * (-1j * commutator + decay * (jump - 0.5 * (loss @ rho + rho @ loss)))
        rho = 0.5 * (rho + rho.conj().T)
    p = np.linalg.eigvalsh(rho)
    return np.trace(rho @ rho).real, -np.sum(p * np.log(p))


def reliability(rate, shape, paths=()):
    """The chance that a bridge of Weibull parts still works, by inclusion and exclusion over its paths."""
    alive = np.exp(-(rate**shape))
    total = 0.0
    for mask in range(1, 2 ** len(paths)):
        union = set()
        for i, path in enumerate(paths):
            if mask >> i & 1:
                union |= set(path)
        sign = -1 if bin(mask).count("1") % 2 == 0 else 1
        total = total + sign * np.prod(alive[sorted(union)])
    return total


nodes = np.array([[0.0, 0.0], [1.0, 0.1], [2.0, 0.0], [0.5, 0.9], [1.5, 1.0]])
elements = np.array([[0, 1], [1, 2], [0, 3], [1, 3], [1, 4], [2, 4], [3, 4]])
packet = np.exp(-((np.arange(8) * 0.5 - 2) ** 2)) * np.exp(1.5j * np.arange(8) * 0.5)
camber = np.stack([np.linspace(0, 1, 5), 0.1 * np.sin(np.pi * np.linspace(0, 1, 5) ** 0.8)], axis=1)

PROGRAMS = [
    Program(
        "structures",
        truss,
        (rng.uniform(0.5, 1.5, 7), nodes, 10.0),
        {"elements": elements, "fixed": [0, 1, 5], "load": np.array([0, 0, 0, -1.0, 0, 0, 0.2, 0, 0, -0.5])},
        creates=True,
        rtol=1e-8,
    ),
    Program("topology optimisation", topology_compliance, (rng.uniform(0.3, 1, (3, 2)),), creates=True, rtol=1e-7),
    Program("structures", beam_deflection, (rng.uniform(1, 2, 6), rng.normal(size=6), 5.0), rtol=1e-7),
    Program(
        "vibrations",
        modal_analysis,
        (rng.uniform(1, 2, 3), rng.uniform(5, 9, 3), 0.05, np.array([0.7, 1.9, 2.6])),
        rtol=1e-7,
        rounds="np.linalg.eigh, whose matrix is symmetric to rounding",
    ),
    Program(
        "circuits",
        ladder_filter,
        (1.0, np.array([0.1, 0.2]), np.array([0.15, 0.1]), np.array([0.3, 0.8, 1.6])),
        creates=True,
    ),
    Program(
        "circuits",
        nodal_analysis,
        (rng.uniform(0.5, 2, 5), np.array([0.0, 1.0, 0.0, -0.5])),
        {"edges": ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2))},
    ),
    Program("fluid dynamics", pipe_network, (np.array([0.9, 0.7, 0.8]), 1.2, 0.3)),
    Program("heat transfer", heat_exchanger, (90.0, 20.0, 1.5, 2.0, 3.0)),
    Program("aerodynamics", vortex_panels, (camber, 0.07)),
    Program(
        "optics",
        thin_film_reflectance,
        (np.array([0.1, 0.15]), np.array([1.38, 2.1]), np.array([0.45, 0.6]), 0.3),
        creates=True,
        rounds="products of small complex matrices, on some processors",
    ),
    Program("optics", gaussian_beam, (0.0, 0.8, np.array([0.5, 0.7, 0.4]), np.array([0.6, -1.0, 0.9]))),
    Program("optics", angular_spectrum, (rng.random((4, 4)), 1.7)),
    Program("quantum computing", quantum_circuit, (rng.uniform(0, 3, (2, 3, 2)),), rounds="np.tensordot"),
    Program("quantum mechanics", split_step_schrodinger, (packet, 0.3 * (np.arange(8) - 4.0) ** 2)),
    Program(
        "condensed matter", tight_binding_bands, (np.array([1.0, 0.7]), 0.2, np.array([0.3, 1.4, 2.6])), creates=True
    ),
    Program(
        "quantum mechanics",
        lindblad,
        (
            np.array([[0.6, 0.2 + 0.1j], [0.2 - 0.1j, 0.4]]),
            np.array([[0.5, 0.3 - 0.2j], [0.3 + 0.2j, -0.5]]),
            0.4,
        ),
        rtol=1e-8,
    ),
    Program(
        "reliability", reliability, (rng.uniform(0.1, 0.6, 5), 1.3), {"paths": ((0, 1), (2, 3), (0, 4, 3), (2, 4, 1))}
    ),
]
