# ruff: noqa: E741, SIM108
"""Naive float64 loop evaluations of the SSL losses (own code, straight from the formulas; no third-party source).

Inputs are nested lists of 0-d torch tensors (use L2(tensor)) or floats; everything returns a torch scalar unless noted.
"""

from __future__ import annotations

import math

import numpy as np
import torch


def L2(x):
    """tensor -> nested lists of 0-d tensors (keeps the autograd graph)"""
    return x if x.dim() == 0 else [L2(r) for r in x]


def T64(x):
    return torch.as_tensor(np.asarray(x))


def dot(a, b):
    s = 0.0
    for i in range(len(a)):
        s = s + a[i] * b[i]
    return s


def norm(a):
    return dot(a, a) ** 0.5


def unit(a):
    n = norm(a)
    return [a[i] / n for i in range(len(a))]


def cos(a, b):
    return dot(a, b) / (norm(a) * norm(b))


def sq(a, b):
    s = 0.0
    for i in range(len(a)):
        s = s + (a[i] - b[i]) ** 2
    return s


def softplus(x):
    return torch.log1p(torch.exp(-torch.abs(x))) + torch.clamp(x, min=0.0)


def lse(xs):
    m = max(float(x.detach()) for x in xs)
    s = 0.0
    for x in xs:
        s = s + torch.exp(x - m)
    return torch.log(s) + m


def relu(x):
    return x if float(x) > 0 else x * 0.0


def nt_xent(z1, z2, tau, normalize=True):
    z = list(z1) + list(z2)
    N = len(z1)
    if normalize:
        z = [unit(r) for r in z]
    total = 0.0
    for i in range(2 * N):
        p = (i + N) % (2 * N)
        total = total + (-dot(z[i], z[p]) / tau + lse([dot(z[i], z[k]) / tau for k in range(2 * N) if k != i]))
    return total / (2 * N)


def nt_logistic(z1, z2, tau, mode="mean"):
    """mean: mean over anchors of softplus(-s_p) + mean_n softplus(s_n);  sum: negatives summed;
    semihard: one negative per anchor, the most similar among those less similar than the positive."""
    z = [unit(r) for r in z1] + [unit(r) for r in z2]
    N = len(z1)
    total = 0.0
    for i in range(2 * N):
        p = (i + N) % (2 * N)
        sp = dot(z[i], z[p])
        neg = [dot(z[i], z[k]) for k in range(2 * N) if k not in (i, p)]
        if mode == "semihard":
            cand = [s for s in neg if float(s) < float(sp)]
            neg = [max(cand, key=float)] if cand else []
        t = softplus(-sp / tau)
        n = 0.0
        for s in neg:
            n = n + softplus(s / tau)
        if mode == "mean":
            n = n / len(neg)
        total = total + t + n
    return total / (2 * N)


def margin_triplet_cos(z1, z2, m, mode="all"):
    z = [unit(r) for r in z1] + [unit(r) for r in z2]
    N = len(z1)
    total, cnt = 0.0, 0
    for i in range(2 * N):
        p = (i + N) % (2 * N)
        sp = dot(z[i], z[p])
        neg = [dot(z[i], z[k]) for k in range(2 * N) if k not in (i, p)]
        if mode == "all":
            for s in neg:
                total = total + relu(s - sp + m)
                cnt += 1
        else:  # semihard: closest negative that is farther than the positive and inside the margin
            cand = [s for s in neg if float(sp) - m < float(s) < float(sp)]
            cnt += 1
            if cand:
                total = total + relu(max(cand, key=float) - sp + m)
    return total / cnt


def triplet_semihard(emb, labels, margin):
    """FaceNet/TF semantics, squared Euclidean, all ordered positive pairs."""
    B = len(emb)
    D = [[sq(emb[i], emb[j]) for j in range(B)] for i in range(B)]
    tot, n = 0.0, 0
    for a in range(B):
        for p in range(B):
            if a == p or labels[a] != labels[p]:
                continue
            n += 1
            negs = [D[a][k] for k in range(B) if labels[k] != labels[a]]
            out = [d for d in negs if float(d) > float(D[a][p])]
            pick = min(out, key=float) if out else max(negs, key=float)
            tot = tot + relu(margin + D[a][p] - pick)
    return tot / n


def tcn_singleview(emb, t, pos_r, neg_r, margin, seq=None):
    B = len(emb)
    D = [[sq(emb[i], emb[j]) for j in range(B)] for i in range(B)]
    tot, n = 0.0, 0
    for a in range(B):
        for p in range(B):
            same = seq is None or seq[a] == seq[p]
            if a == p or not same or abs(t[a] - t[p]) > pos_r:
                continue
            n += 1
            negs = [D[a][k] for k in range(B) if abs(t[a] - t[k]) > neg_r or (seq is not None and seq[a] != seq[k])]
            out = [d for d in negs if float(d) > float(D[a][p])]
            if negs:
                pick = min(out, key=float) if out else max(negs, key=float)
            else:  # official: masked maximum of nothing = row minimum = 0
                pick = min(D[a], key=float)
            tot = tot + relu(margin + D[a][p] - pick)
    return tot / n


def byol_loss(p1, p2, t1, t2):
    N = len(p1)
    s = 0.0
    for i in range(N):
        s = s + sq(unit(p1[i]), unit(t2[i])) + sq(unit(p2[i]), unit(t1[i]))
    return s / N


def simsiam_loss(p1, p2, t1, t2):
    N = len(p1)
    s = 0.0
    for i in range(N):
        s = s - 0.5 * cos(p1[i], t2[i]) - 0.5 * cos(p2[i], t1[i])
    return s / N


def bn_cols(z, eps=1e-5):
    N, D = len(z), len(z[0])
    out = [[None] * D for _ in range(N)]
    for d in range(D):
        m = 0.0
        for i in range(N):
            m = m + z[i][d]
        m = m / N
        v = 0.0
        for i in range(N):
            v = v + (z[i][d] - m) ** 2
        v = v / N  # biased
        for i in range(N):
            out[i][d] = (z[i][d] - m) / torch.sqrt(v + eps)
    return out


def barlow(z1, z2, lambd, eps=1e-5, bn=True):
    a, b = (bn_cols(z1, eps), bn_cols(z2, eps)) if bn else (z1, z2)
    N, D = len(z1), len(z1[0])
    loss = 0.0
    for i in range(D):
        for j in range(D):
            c = 0.0
            for n in range(N):
                c = c + a[n][i] * b[n][j]
            c = c / N
            loss = loss + ((c - 1.0) ** 2 if i == j else lambd * c**2)
    return loss


def vicreg(x, y, lam, mu, nu, eps=1e-4, variant="official"):
    """official: MSE over N*D, variance terms averaged over the two views (each halved);
    algorithm1: the paper's listing (variance terms summed); eq: paper eq. 6 (||.||^2 per sample, not / D)."""
    N, D = len(x), len(x[0])
    s = 0.0
    for i in range(N):
        s = s + sq(x[i], y[i])
    s = s / N if variant == "eq" else s / (N * D)
    v = c = 0.0
    for z in (x, y):
        mean = []
        for d in range(D):
            m = 0.0
            for i in range(N):
                m = m + z[i][d]
            mean.append(m / N)
        vv = 0.0
        for d in range(D):
            q = 0.0
            for i in range(N):
                q = q + (z[i][d] - mean[d]) ** 2
            vv = vv + relu(1.0 - torch.sqrt(q / (N - 1) + eps))
        v = v + vv / D
        cc = 0.0
        for d in range(D):
            for e in range(D):
                if d != e:
                    q = 0.0
                    for i in range(N):
                        q = q + (z[i][d] - mean[d]) * (z[i][e] - mean[e])
                    cc = cc + (q / (N - 1)) ** 2
        c = c + cc / D
    if variant == "official":
        v = v / 2
    return lam * s + mu * v + nu * c


def whiten_cols(h, eps=0.0):
    """Cholesky whitening x -> L^-1 (x - mean), L L^T = (1-eps) cov + eps I, cov with N-1; all by hand."""
    N, D = len(h), len(h[0])
    mean = []
    for d in range(D):
        m = 0.0
        for i in range(N):
            m = m + h[i][d]
        mean.append(m / N)
    X = [[h[i][d] - mean[d] for d in range(D)] for i in range(N)]
    A = [[None] * D for _ in range(D)]
    for d in range(D):
        for e in range(D):
            q = 0.0
            for i in range(N):
                q = q + X[i][d] * X[i][e]
            A[d][e] = (1 - eps) * q / (N - 1) + (eps if d == e else 0.0)
    L = [[None] * D for _ in range(D)]
    for i in range(D):
        for j in range(i + 1):
            s = A[i][j]
            for k in range(j):
                s = s - L[i][k] * L[j][k]
            L[i][j] = torch.sqrt(s) if i == j else s / L[j][j]
    out = []
    for n in range(N):
        y = []
        for i in range(D):
            s = X[n][i]
            for k in range(i):
                s = s - L[i][k] * y[k]
            y.append(s / L[i][i])
        out.append(y)
    return out


def wmse(views, perms, w_size, eps=0.0, normalize=True):
    """views: list of d [N][D] lists; perms: list (w_iter) of permutations of N."""
    N, d = len(views[0]), len(views)
    loss = 0.0
    for perm in perms:
        z = [[None] * N for _ in views]
        for g in range(0, N, w_size):
            idx = [int(i) for i in perm[g : g + w_size]]
            for v in range(d):
                for i, row in zip(idx, whiten_cols([views[v][i] for i in idx], eps)):
                    z[v][i] = row
        for i in range(d - 1):
            for j in range(i + 1, d):
                s = 0.0
                for n in range(N):
                    s = s + (2 - 2 * cos(z[i][n], z[j][n]) if normalize else sq(z[i][n], z[j][n]) / len(z[i][n]))
                loss = loss + s / N
    return loss / (len(perms) * d * (d - 1) / 2)


def sinkhorn(scores, eps, iters):
    """scores [B][K] floats -> Q [B][K]; SwAV order: global sum, then (row=prototype, column=sample) x iters."""
    B, K = len(scores), len(scores[0])
    Q = [[math.exp(scores[b][k] / eps) for b in range(B)] for k in range(K)]
    tot = sum(sum(r) for r in Q)
    Q = [[x / tot for x in r] for r in Q]
    for _ in range(iters):
        for k in range(K):
            s = sum(Q[k])
            Q[k] = [x / s / K for x in Q[k]]
        for b in range(B):
            s = sum(Q[k][b] for k in range(K))
            for k in range(K):
                Q[k][b] = Q[k][b] / s / B
    return [[Q[k][b] * B for k in range(K)] for b in range(B)]


def soft_ce(target, logits):
    l = lse(logits)
    s = 0.0
    for k in range(len(logits)):
        s = s - target[k] * (logits[k] - l)
    return s


def swav_loss(outs, crops_for_assign, tau, eps, iters, queue_scores=None):
    """outs: list over crops of [B][K] scores (torch)."""
    B = len(outs[0])
    loss = 0.0
    for a, cid in enumerate(crops_for_assign):
        sc = [[float(x) for x in r] for r in outs[cid]]
        if queue_scores is not None:
            sc = [list(map(float, r)) for r in queue_scores[a]] + sc
        q = sinkhorn(sc, eps, iters)[-B:]
        sub = 0.0
        for v in range(len(outs)):
            if v == cid:
                continue
            m = 0.0
            for b in range(B):
                m = m + soft_ce(q[b], [x / tau for x in outs[v][b]])
            sub = sub + m / B
        loss = loss + sub / (len(outs) - 1)
    return loss / len(crops_for_assign)


def softmax_list(xs):
    m = max(xs)
    e = [math.exp(x - m) for x in xs]
    s = sum(e)
    return [x / s for x in e]


def dino_loss(student, teacher, center, ts, tt):
    """student: list over crops of [B][K]; teacher: list over 2 global crops of [B][K] (floats)."""
    B, K = len(student[0]), len(student[0][0])
    loss, n = 0.0, 0
    for iq in range(len(teacher)):
        q = [softmax_list([(float(teacher[iq][b][k]) - float(center[k])) / tt for k in range(K)]) for b in range(B)]
        for v in range(len(student)):
            if v == iq:
                continue
            s = 0.0
            for b in range(B):
                s = s + soft_ce(q[b], [x / ts for x in student[v][b]])
            loss = loss + s / B
            n += 1
    return loss / n


def spherical_kmeans(mem, init, iters):
    """DeepCluster-v2: cosine assignment, mean update, empty clusters keep their centroid, renormalize.
    Returns (centroids, assignments); `iters` M-steps then a last E-step."""
    cent = [list(c) for c in init]
    for it in range(iters + 1):
        asg = []
        for x in mem:
            best, bj = -1e300, 0
            for j, c in enumerate(cent):
                d = sum(a * b for a, b in zip(x, c))
                if d > best:
                    best, bj = d, j
            asg.append(bj)
        if it == iters:
            break
        new = []
        for j in range(len(cent)):
            rows = [mem[i] for i in range(len(mem)) if asg[i] == j]
            c = [sum(r[d] for r in rows) / len(rows) for d in range(len(mem[0]))] if rows else cent[j]
            nn_ = math.sqrt(sum(v * v for v in c))
            new.append([v / nn_ for v in c])
        cent = new
    return cent, asg


def moco_loss(q, k, queue, tau):
    """q,k [N][D] unnormalized; queue [K][D] unit rows; positives = own key, negatives = queue only."""
    N = len(q)
    s = 0.0
    for i in range(N):
        a = unit(q[i])
        b = [float(x) for x in unit(k[i])]
        lp = dot(a, b) / tau
        s = s - lp + lse([lp] + [dot(a, n) / tau for n in queue])
    return s / N


def mocov3_loss(q1, q2, k1, k2, tau):
    N = len(q1)

    def half(q, k):
        kk = [[float(x) for x in unit(r)] for r in k]
        s = 0.0
        for i in range(N):
            a = unit(q[i])
            lg = [dot(a, kk[j]) / tau for j in range(N)]
            s = s - lg[i] + lse(lg)
        return s / N * 2 * tau

    return half(q1, k2) + half(q2, k1)


def npid_nce(x, y, memory, idx, T, Z, n_data):
    """x [B][D] unit features; idx [B][K+1] with idx[:,0] == y.  Sum over positives and noise / B."""
    eps = 1e-7
    B, K = len(x), len(idx[0]) - 1
    Pn = 1.0 / n_data
    loss = 0.0
    for i in range(B):
        for j in range(K + 1):
            p = torch.exp(dot(x[i], memory[idx[i][j]]) / T) / Z
            h = p / (p + K * Pn + eps) if j == 0 else (K * Pn) / (p + K * Pn + eps)
            loss = loss - torch.log(h)
    return loss / B


def amdim_g2l(src, trg, tclip):
    """src [B][R]; trg [B][L][R] (sample, location).  Positives: same sample, every location;
    negatives of sample i: all locations of the other samples.  Returns (nce loss, logit regulariser)."""
    B, R, L = len(src), len(src[0]), len(trg[0])
    raw = [[[dot(src[i], trg[j][l]) / math.sqrt(R) for l in range(L)] for j in range(B)] for i in range(B)]
    reg = 0.0
    for i in range(B):
        for j in range(B):
            for l in range(L):
                reg = reg + raw[i][j][l] ** 2
    reg = 5e-2 * reg / (B * B * L)
    clip = [[[tclip * torch.tanh(raw[i][j][l] / tclip) for l in range(L)] for j in range(B)] for i in range(B)]
    nce = 0.0
    for i in range(B):
        neg = [clip[i][j][l] for j in range(B) if j != i for l in range(L)]
        for l in range(L):
            nce = nce - (clip[i][i][l] - lse([clip[i][i][l], *neg]))
    return nce / (B * L), reg


def cpc_rows(pred, target, offset, scale):
    """pred, target [B][H][W][D]; row r of pred predicts row r+offset of target, same column;
    negatives: every other position of every image.  mean CE."""
    B, H, W = len(pred), len(pred[0]), len(pred[0][0])
    flat = [(b, h, w) for b in range(B) for h in range(H) for w in range(W)]
    s, n = 0.0, 0
    for b in range(B):
        for h in range(H - offset):
            for w in range(W):
                lg = [dot([scale * u for u in pred[b][h][w]], target[bb][hh][ww]) for bb, hh, ww in flat]
                s = s - lg[flat.index((b, h + offset, w))] + lse(lg)
                n += 1
    return s / n


def obow_targets(feat, emb, inv_delta, mu):
    """feat [B][C][h][w] (border already removed by the caller), emb [K][C]: soft assignment of every location
    with softmax(-inv_delta/mu * squared distance), max-pool over locations, L1 normalize."""
    out, mins = [], []
    for f in feat:
        C, h, w = len(f), len(f[0]), len(f[0][0])
        bow = [0.0] * len(emb)
        for i in range(h):
            for j in range(w):
                d = [sum((float(f[c][i][j]) - float(e[c])) ** 2 for c in range(C)) for e in emb]
                mins.append(min(d))
                p = softmax_list([-inv_delta / mu * x for x in d])
                bow = [max(a, b) for a, b in zip(bow, p)]
        s = sum(bow)
        out.append([b / s for b in bow])
    return out, sum(mins) / len(mins)


def mae_patchify(img, p):
    """[C][H][W] -> [L][p*p*C], pixel-major then channel (row, col, channel)."""
    C, H, W = len(img), len(img[0]), len(img[0][0])
    out = []
    for i in range(H // p):
        for j in range(W // p):
            out.append([img[c][i * p + a][j * p + b] for a in range(p) for b in range(p) for c in range(C)])
    return out


def mae_loss(imgs, pred, mask, p, norm_pix):
    tot, n = 0.0, 0.0
    for b in range(len(imgs)):
        t = mae_patchify(imgs[b], p)
        for l in range(len(t)):
            if float(mask[b][l]) == 0:
                continue
            row = [float(v) for v in t[l]]
            if norm_pix:
                m = sum(row) / len(row)
                v = sum((x - m) ** 2 for x in row) / (len(row) - 1)  # unbiased, as the official code
                row = [(x - m) / math.sqrt(v + 1e-6) for x in row]
            s = 0.0
            for k in range(len(row)):
                s = s + (pred[b][l][k] - row[k]) ** 2
            tot = tot + s / len(row)
            n += 1
    return tot / n


def knn_vote(train, ylab, test, k, T, C):
    """weighted kNN (NPID/DINO): cosine similarity, exp(s/T) votes; returns [Ntest][C] scores."""
    tr = [unit([float(v) for v in r]) for r in train]
    out = []
    for x in test:
        u = unit([float(v) for v in x])
        s = sorted(((dot(u, t), c) for t, c in zip(tr, ylab)), key=lambda q: -q[0])[:k]
        row = [0.0] * C
        for v, c in s:
            row[int(c)] += math.exp(v / T)
        out.append(row)
    return out
