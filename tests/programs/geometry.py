"""Curves, surfaces, cameras, robots; and linear algebra by hand."""

import numpy as np

from tests.programs import Program

rng = np.random.default_rng(23)


def cubic_spline(x, y, xs):
    """A natural cubic spline: a tridiagonal system for the second derivatives, then the pieces by searchsorted."""
    n = len(x)
    h = np.diff(x)
    slope = np.diff(y) / h
    A = np.diag(2 * (h[:-1] + h[1:])) + np.diag(h[1:-1], 1) + np.diag(h[1:-1], -1)
    M = np.concatenate([[0.0], np.linalg.solve(A, 6 * np.diff(slope)), [0.0]])
    i = np.clip(np.searchsorted(x, xs) - 1, 0, n - 2)
    t = xs - x[i]
    b = slope[i] - h[i] * (2 * M[i] + M[i + 1]) / 6
    return y[i] + t * (b + t * (M[i] / 2 + t * (M[i + 1] - M[i]) / (6 * h[i])))


def bezier_length(control, samples=9):
    """De Casteljau's construction at many parameters at once; the curve, its length and the area under it."""
    t = np.linspace(0, 1, samples)[:, None, None]
    points = control[None] * np.ones_like(t)
    while points.shape[1] > 1:
        points = (1 - t) * points[:, :-1] + t * points[:, 1:]
    curve = points[:, 0]
    step = np.diff(curve, axis=0)
    return curve, np.hypot(step[:, 0], step[:, 1]).sum(), np.trapezoid(curve[:, 1], curve[:, 0])


def b_spline_basis(x, coefficients, knots=None, degree=3):
    """Cox and de Boor's recursion for all basis functions."""
    t = knots
    B = [((x >= t[i]) & (x < t[i + 1])).astype(float) for i in range(len(t) - 1)]
    for k in range(1, degree + 1):
        new = []
        for i in range(len(t) - k - 1):
            left = (x - t[i]) / (t[i + k] - t[i]) * B[i] if t[i + k] > t[i] else 0.0
            right = (t[i + k + 1] - x) / (t[i + k + 1] - t[i + 1]) * B[i + 1] if t[i + k + 1] > t[i + 1] else 0.0
            new.append(left + right)
        B = new
    return sum(c * b for c, b in zip(coefficients, B, strict=True))


def barycentric_lagrange(nodes, values, x):
    """Interpolation by barycentric weights, with where x hits a node left to a mask."""
    diff = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(diff, 1.0)
    w = 1 / np.prod(diff, axis=1)
    dx = x[:, None] - nodes
    hit = dx == 0
    dx = np.where(hit, 1.0, dx)
    terms = w / dx
    p = (terms @ values) / terms.sum(axis=1)
    return np.where(hit.any(axis=1), (hit * values).sum(axis=1), p)


def ray_sphere(origin, directions, centres, radii, light):
    """Rays against spheres: the nearest hit, its normal and Lambert's shade, with the sky where nothing is hit."""
    d = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    oc = origin - centres
    b = d @ oc.T
    c = np.sum(oc * oc, axis=1) - radii**2
    disc = b**2 - c
    hit = disc > 0
    t = -b - np.sqrt(np.where(hit, disc, 1.0))
    t = np.where(hit & (t > 1e-6), t, np.inf)
    nearest = np.argmin(t, axis=1)
    rows = np.arange(len(d))
    depth = t[rows, nearest]
    seen = np.isfinite(depth)
    point = origin + np.where(seen, depth, 0.0)[:, None] * d
    normal = (point - centres[nearest]) / radii[nearest][:, None]
    shade = np.clip(normal @ (light / np.linalg.norm(light)), 0, 1)
    return np.where(seen, 0.1 + 0.9 * shade, 0.5 * (1 + d[:, 2]))


def ray_march(origin, directions, radius, blend, steps=5):
    """Sphere tracing of two spheres melted together."""

    def distance(p):
        a = np.sqrt(np.sum(p**2, axis=-1)) - radius
        b = np.sqrt(np.sum((p - [0.8, 0.0, 0.0]) ** 2, axis=-1)) - radius
        h = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
        return b + (a - b) * h - blend * h * (1 - h)

    t = np.zeros(len(directions))
    for _ in range(steps):
        t = t + distance(origin + t[:, None] * directions)
    return t


def polygon_properties(xy):
    """Area, centroid and second moments by the shoelace formula."""
    x, y = xy.T
    x1, y1 = np.roll(x, -1), np.roll(y, -1)
    cross = x * y1 - x1 * y
    area = 0.5 * cross.sum()
    cx = np.sum((x + x1) * cross) / (6 * area)
    cy = np.sum((y + y1) * cross) / (6 * area)
    Ixx = np.sum((y**2 + y * y1 + y1**2) * cross) / 12 - area * cy**2
    return area, (cx, cy), Ixx


def rigid_registration(source, target, weights):
    """Kabsch's rotation between two clouds, a reflection mended by the sign of the determinant."""
    w = weights / weights.sum()
    cs, ct = w @ source, w @ target
    H = (source - cs).T @ (w[:, None] * (target - ct))
    U, _, Vt = np.linalg.svd(H)
    d = np.sign(np.linalg.det(Vt.T @ U.T))
    R = Vt.T @ np.diag([1.0, 1.0, 1.0]) @ U.T if d > 0 else Vt.T @ np.diag([1.0, 1.0, -1.0]) @ U.T
    moved = (source - cs) @ R.T + ct
    return R, np.sqrt(np.mean(np.sum((moved - target) ** 2, axis=1)))


def bundle_adjustment(rotation, translation, focal, points, observed):
    """Reprojection error of points seen by a camera given by Rodrigues's vector, with radial distortion."""
    theta = np.sqrt(rotation @ rotation)
    k = rotation / theta
    crossed = np.cross(k, points)
    rotated = (
        points * np.cos(theta) + crossed * np.sin(theta) + np.outer(points @ k, k) * (1 - np.cos(theta))
    ) + translation
    uv = -rotated[:, :2] / rotated[:, 2:]
    r2 = np.sum(uv**2, axis=1, keepdims=True)
    residual = focal[0] * (1 + focal[1] * r2 + focal[2] * r2**2) * uv - observed
    return np.sum(np.log1p(np.sum(residual**2, axis=1)))


def robot_arm(q, link, twist, offset):
    """Forward kinematics by Denavit and Hartenberg's matrices, and the Jacobian of the tip by cross products."""

    def matrix(theta, a, alpha, d):
        ct, st, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        return np.array(
            [
                [ct, -st * ca, st * sa, a * ct],
                [st, ct * ca, -ct * sa, a * st],
                [0.0, sa, ca, d],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )

    T = np.eye(4)
    axes, origins = [], []
    for args in zip(q, link, twist, offset, strict=True):
        axes.append(T[:3, 2])
        origins.append(T[:3, 3])
        T = T @ matrix(*args)
    tip = T[:3, 3]
    J = np.stack([np.cross(z, tip - o) for z, o in zip(axes, origins, strict=True)], axis=1)
    return tip, np.sqrt(np.linalg.det(J @ J.T))


def inverse_kinematics(q, target, lengths, damping=0.1, iters=3):
    """Damped least squares for a planar arm."""
    for _ in range(iters):
        angle = np.cumsum(q)
        tip = np.stack([lengths @ np.cos(angle), lengths @ np.sin(angle)])
        jx = -np.cumsum((lengths * np.sin(angle))[::-1])[::-1]
        jy = np.cumsum((lengths * np.cos(angle))[::-1])[::-1]
        J = np.vstack((jx, jy))
        q = q + J.T @ np.linalg.solve(J @ J.T + damping**2 * np.eye(2), target - tip)
    return q


def attitude_filter(q, gyro, accel, gain, dt=0.1):
    """A quaternion integrated from rates and corrected by where gravity is felt."""

    def multiply(a, b):
        w0, x0, y0, z0 = a
        w1, x1, y1, z1 = b
        return np.stack(
            [
                w0 * w1 - x0 * x1 - y0 * y1 - z0 * z1,
                w0 * x1 + x0 * w1 + y0 * z1 - z0 * y1,
                w0 * y1 - x0 * z1 + y0 * w1 + z0 * x1,
                w0 * z1 + x0 * y1 - y0 * x1 + z0 * w1,
            ]
        )

    for omega, a in zip(gyro, accel, strict=True):
        a = a / np.linalg.norm(a)
        w, x, y, z = q
        gravity = np.stack([2 * (x * z - w * y), 2 * (w * x + y * z), w * w - x * x - y * y + z * z])
        omega = omega + gain * np.cross(a, gravity)
        q = q + 0.5 * dt * multiply(q, np.append(0.0, omega))
        q /= np.linalg.norm(q)
    return q


def mpc_cost(u, x0, target, A, B, rho=10.0):
    """Cost of a plan of controls for a linear system, with soft limits on them and on how fast they change."""
    x = x0.copy()
    cost = 0.0
    previous = np.zeros_like(u[0])
    for k in range(len(u)):
        cost += (x - target) @ (x - target) + 0.1 * u[k] @ u[k]
        cost += rho * np.sum(np.maximum(np.abs(u[k]) - 1.0, 0) ** 2) + np.sum((u[k] - previous) ** 2)
        previous = u[k]
        x = A @ x + B @ u[k]
    return cost + 5 * np.sum((x - target) ** 2)


def riccati_gains(A, B, Q, R, horizon=4):
    """Finite-horizon LQR, the gains of all steps backwards."""
    P = Q
    gains = []
    for _ in range(horizon):
        S = R + B.T @ P @ B
        K = np.linalg.inv(S) @ B.T @ P @ A
        P = Q + A.T @ P @ (A - B @ K)
        P = 0.5 * (P + P.T)
        gains.append(K)
    return gains[::-1], np.trace(P)


def gaussian_elimination(A, b):
    """Elimination in place with partial pivoting, rows swapped through fancy indices."""
    A, b = A.copy(), b.copy()
    n = len(b)
    sign = 1.0
    for k in range(n - 1):
        p = k + np.argmax(np.abs(A[k:, k]))
        if p != k:
            A[[k, p]] = A[[p, k]]
            b[[k, p]] = b[[p, k]]
            sign = -sign
        factors = A[k + 1 :, k] / A[k, k]
        A[k + 1 :, k:] -= factors[:, None] * A[k, k:]
        b[k + 1 :] -= factors * b[k]
    det = sign * np.prod(np.diag(A))
    for k in range(n - 1, -1, -1):
        b[k] = (b[k] - A[k, k + 1 :] @ b[k + 1 :]) / A[k, k]
    return b, det


def gram_schmidt(V):
    """Modified Gram and Schmidt, column after column of a copy."""
    Q = V.copy()
    R = np.zeros((V.shape[1], V.shape[1]))
    for j in range(V.shape[1]):
        R[j, j] = np.linalg.norm(Q[:, j])
        Q[:, j] /= R[j, j]
        for k in range(j + 1, V.shape[1]):
            R[j, k] = Q[:, j] @ Q[:, k]
            Q[:, k] -= R[j, k] * Q[:, j]
    return Q, R


def cholesky_by_hand(A):
    """Row by row into an array of zeros; the log determinant."""
    n = A.shape[0]
    L = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            s = A[i, j] - np.dot(L[i, :j], L[j, :j])
            L[i, j] = np.sqrt(s) if i == j else s / L[j, j]
    return L, 2 * np.log(np.diagonal(L)).sum()


def conjugate_gradient(A, b, iters=2):
    """A fixed number of steps."""
    x = np.zeros_like(b)
    r = b - A @ x
    p = r.copy()
    rs = r @ r
    for _ in range(iters):
        Ap = A @ p
        alpha = rs / (p @ Ap)
        x = x + alpha * p
        r = r - alpha * Ap
        rs_new = r @ r
        p = r + (rs_new / rs) * p
        rs = rs_new
    return x, np.sqrt(rs)


def jacobi_eigenvalues(A, sweeps=2):
    """Jacobi's rotations in place."""
    A = A.copy()
    n = len(A)
    for _ in range(sweeps):
        for p in range(n - 1):
            for q in range(p + 1, n):
                theta = 0.5 * np.arctan2(2 * A[p, q], A[q, q] - A[p, p])
                c, s = np.cos(theta), np.sin(theta)
                rp, rq = A[p].copy(), A[q].copy()
                A[p], A[q] = c * rp - s * rq, s * rp + c * rq
                cp, cq = A[:, p].copy(), A[:, q].copy()
                A[:, p], A[:, q] = c * cp - s * cq, s * cp + c * cq
    return np.sort(np.diag(A))


def matrix_exponential(A, order=6, squarings=3):
    """Scaling, Taylor's series by Horner's rule, squaring."""
    I = np.eye(len(A))
    X = A / 2**squarings
    E = I + X / order
    for k in range(order - 1, 0, -1):
        E = I + X @ E / k
    for _ in range(squarings):
        E = E @ E
    return E


A3 = rng.normal(size=(3, 3))
positive = A3 @ A3.T + 3 * np.eye(3)
cloud = rng.normal(size=(5, 3))
turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
turn = turn * np.sign(np.linalg.det(turn))
knots = np.array([0.0, 0, 0, 0, 0.5, 1, 1, 1, 1])
rays = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 3), [1.0], np.linspace(-0.4, 0.4, 2)), axis=-1).reshape(-1, 3)

PROGRAMS = [
    Program(
        "interpolation",
        cubic_spline,
        (np.array([0.0, 0.7, 1.5, 2.1, 3.0]), rng.normal(size=5), np.array([0.3, 1.1, 2.9])),
    ),
    Program("computer graphics", bezier_length, (rng.normal(size=(4, 2)),)),
    Program("computer graphics", b_spline_basis, (np.array([0.1, 0.45, 0.8]), rng.normal(size=5)), {"knots": knots}),
    Program(
        "interpolation",
        barycentric_lagrange,
        (np.array([-1.0, -0.3, 0.4, 1.0]), rng.normal(size=4), np.array([0.1, 0.77])),
    ),
    Program(
        "computer graphics",
        ray_sphere,
        (
            np.array([0.0, -3.0, 0.1]),
            rays,
            np.array([[0.1, 0.0, 0.0], [-0.8, 1.0, 0.3]]),
            np.array([0.7, 0.6]),
            np.array([0.5, -1.0, 1.0]),
        ),
    ),
    Program("computer graphics", ray_march, (np.array([0.1, -3.0, 0.05]), rays, 0.6, 0.3)),
    Program("geometry", polygon_properties, (np.array([[0.0, 0.0], [2.0, 0.3], [2.5, 1.7], [0.8, 2.1]]),)),
    Program(
        "computer vision",
        rigid_registration,
        (cloud, cloud @ turn.T + 0.05 * rng.normal(size=(5, 3)), rng.uniform(0.5, 1, 5)),
        refused={"jit": "np.where(condition, a, b)", "vmap": "np.where(condition, a, b)"},
    ),
    Program(
        "computer vision",
        bundle_adjustment,
        (
            np.array([0.1, -0.2, 0.3]),
            np.array([0.1, 0.2, -4.0]),
            np.array([2.0, 0.1, 0.01]),
            cloud,
            rng.normal(size=(5, 2)),
        ),
    ),
    Program(
        "robotics",
        robot_arm,
        (rng.uniform(-1, 1, 4), rng.uniform(0.5, 1, 4), np.array([1.5, 0.1, -1.4, 0.2]), rng.uniform(0, 0.3, 4)),
        rtol=1e-8,
        creates=True,
    ),
    Program(
        "robotics", inverse_kinematics, (np.array([0.3, 0.5, -0.2]), np.array([1.2, 0.8]), np.array([1.0, 0.7, 0.4]))
    ),
    Program(
        "navigation",
        attitude_filter,
        (np.array([0.9, 0.1, -0.3, 0.2]), rng.normal(size=(3, 3)), rng.normal(size=(3, 3)) + [0, 0, 2], 0.4),
    ),
    Program(
        "control",
        mpc_cost,
        (
            1.3 * rng.normal(size=(4, 1)),
            np.ones(2),
            np.zeros(2),
            np.array([[1, 0.2], [0, 0.9]]),
            np.array([[0.1], [0.3]]),
        ),
    ),
    Program(
        "control",
        riccati_gains,
        (np.array([[1, 0.2], [0, 0.9]]), np.array([[0.1], [0.3]]), np.diag([1.0, 0.1]), np.array([[0.5]])),
    ),
    Program(
        "linear algebra",
        gaussian_elimination,
        (rng.normal(size=(4, 4)), rng.normal(size=4)),
        refused={"jit": "np.where(condition, a, b)", "vmap": "np.where(condition, a, b)"},
    ),
    Program("linear algebra", gram_schmidt, (rng.normal(size=(4, 3)),), creates=True),
    Program("linear algebra", cholesky_by_hand, (positive,), creates=True),
    Program("linear algebra", conjugate_gradient, (positive, rng.normal(size=3))),
    Program("linear algebra", jacobi_eigenvalues, (positive,), {"sweeps": 1}),
    Program("linear algebra", matrix_exponential, (A3,)),
]
