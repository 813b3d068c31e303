// Messages between the atoms of each pair, and their gradients.
//
// Schuett, Unke, Gastegger (2021), doi:10.48550/arXiv.2102.03150, equations 7 and 8; with
// a, b, c the three parts of what an atom sends, r_a, r_b, r_c those of the filter, and u the
// direction: s_i += r_a a_j, v_i += r_b b_j u + r_c c_j v_j, and for j the same with -u.
#pragma once
#include "workspace.h"

namespace {

// The sums of four vectors, added to four numbers: by halves, as long as there are more than four.
template <class T> KSTEP_INLINE void add_sums(const Vec<T> (&v)[4], T* to) {
    constexpr int few = LANES<T> < 4 ? LANES<T> : 4;
    alignas(64) T each[4][LANES<T>], part[4][few];
    for (int n = 0; n < 4; ++n) *reinterpret_cast<Vec<T>*>(each[n]) = v[n];
    for (int n = 0; n < 4; ++n)
        for (int e = 0; e < few; ++e) {
            part[n][e] = 0;
            for (int more = e; more < LANES<T>; more += few) part[n][e] += each[n][more];
        }
    for (int e = 0; e < few; ++e)
        for (int n = 0; n < 4; ++n) to[n] += part[n][e];
}
// The same of each part of dual numbers.
template <class T, int V> KSTEP_INLINE void add_sums(const DualVector<T, V> (&v)[4], Dual<T, V>* to) {
    KSTEP_UNROLL for (int part = 0; part <= V; ++part) {
        const Vec<T> mine[4] = {v[0].part(part), v[1].part(part), v[2].part(part), v[3].part(part)};
        T sums[4] = {};
        add_sums<T>(mine, sums);
        for (int n = 0; n < 4; ++n) (part ? to[n].along[part ? part - 1 : 0] : to[n].value) += sums[n];
    }
}

// Messages of a layer into the scalars `s` (rows of 2 wide) and the vectors `v`, which hold what
// they are added to. Without vectors to send in the first layer.
template <bool sends_vectors, class N>
void send(int layer, const Weights<Real<N>>& w, Workspace<N>& space, N* v) {
    const int wide = w.wide, vectors = wide / LANES<N>, sent = sends_vectors ? 3 : 2;
    const int radial = w.sizes.radial + 1;
    const Pairs<N>& pairs = space.pairs;
    const Kept<N>& kept = space.layers[layer];
    for (size_t b = 0; b < pairs.blocks; ++b) {
        const int count = (int)std::min<size_t>(BLOCK, pairs.count - b * BLOCK);
        N* filter = space.filters_of(layer, b, wide);
        multiply(count, pairs.basis.data() + b * radial * BLOCK, 1, w.layers[layer].filter, filter, sent * wide);
        for (int p = 0; p < count; ++p, filter += sent * wide) {
            const size_t q = b * BLOCK + p, i = pairs.i[q], j = pairs.j[q];
            const N* u = pairs.direction.data() + 4 * q;
            const Vec<N> u0 = splat(u[0]), u1 = splat(u[1]), u2 = splat(u[2]);
            const N *from_i = kept.phi + i * sent * wide, *from_j = kept.phi + j * sent * wide;
            const N *cv_i = kept.cv + i * 3 * wide, *cv_j = kept.cv + j * 3 * wide;
            N *s_i = kept.x + i * 2 * wide, *s_j = kept.x + j * 2 * wide;
            N *v_i = v + i * 3 * wide, *v_j = v + j * 3 * wide;
            for (int k = 0; k < vectors; ++k) {
                const Vec<N> ra = at(filter, k), rb = at(filter, vectors + k);
                const Vec<N> to_i = rb * at(from_j, vectors + k), to_j = rb * at(from_i, vectors + k);
                at(s_i, k) += ra * at(from_j, k);
                at(s_j, k) += ra * at(from_i, k);
                if constexpr (sends_vectors) {
                    const Vec<N> rc = at(filter, 2 * vectors + k);
                    at(v_i, k) += to_i * u0 + rc * at(cv_j, k);
                    at(v_i, vectors + k) += to_i * u1 + rc * at(cv_j, vectors + k);
                    at(v_i, 2 * vectors + k) += to_i * u2 + rc * at(cv_j, 2 * vectors + k);
                    at(v_j, k) += rc * at(cv_i, k) - to_j * u0;
                    at(v_j, vectors + k) += rc * at(cv_i, vectors + k) - to_j * u1;
                    at(v_j, 2 * vectors + k) += rc * at(cv_i, 2 * vectors + k) - to_j * u2;
                } else {
                    at(v_i, k) += to_i * u0;
                    at(v_i, vectors + k) += to_i * u1;
                    at(v_i, 2 * vectors + k) += to_i * u2;
                    at(v_j, k) -= to_j * u0;
                    at(v_j, vectors + k) -= to_j * u1;
                    at(v_j, 2 * vectors + k) -= to_j * u2;
                }
            }
        }
    }
}

// From the gradients by scalars and vectors that received: those of each pair, and by a, b and
// c v of the senders.
template <bool sends_vectors, class N>
void send_back(int layer, const Weights<Real<N>>& w, Workspace<N>& space) {
    const int wide = w.wide, vectors = wide / LANES<N>, sent = sends_vectors ? 3 : 2;
    const int radial = w.sizes.radial + 1;
    Pairs<N>& pairs = space.pairs;
    const Kept<N>& kept = space.layers[layer];
    const Matrix<Real<N>>& matrix = w.layers[layer].filter;
    for (size_t b = 0; b < pairs.blocks; ++b) {
        const int count = (int)std::min<size_t>(BLOCK, pairs.count - b * BLOCK);
        N *filter = space.filters_of(layer, b, wide), *slope = space.slopes.data();
        if (!space.keeps_filters)
            multiply(count, pairs.basis.data() + b * radial * BLOCK, 1, matrix, filter, sent * wide);
        multiply(count, pairs.basis_slope.data() + b * radial * BLOCK, 1, matrix, slope, sent * wide);
        for (int p = 0; p < count; ++p, filter += sent * wide, slope += sent * wide) {
            const size_t q = b * BLOCK + p, i = pairs.i[q], j = pairs.j[q];
            const N* u = pairs.direction.data() + 4 * q;
            const Vec<N> u0 = splat(u[0]), u1 = splat(u[1]), u2 = splat(u[2]);
            const N *from_i = kept.phi + i * sent * wide, *from_j = kept.phi + j * sent * wide;
            const N *cv_i = kept.cv + i * 3 * wide, *cv_j = kept.cv + j * 3 * wide;
            const N *gs_i = space.gs + i * wide, *gs_j = space.gs + j * wide;
            const N *gv_i = space.gv + i * 3 * wide, *gv_j = space.gv + j * 3 * wide;
            N *ga_i = space.gphi + i * 3 * wide, *ga_j = space.gphi + j * 3 * wide;
            N *gc_i = space.gcv + i * 3 * wide, *gc_j = space.gcv + j * 3 * wide;
            Vec<N> sums[4] = {};
            for (int k = 0; k < vectors; ++k) {
                const Vec<N> rb = at(filter, vectors + k), s_i = at(gs_i, k), s_j = at(gs_j, k);
                const Vec<N> b_i = at(from_i, vectors + k), b_j = at(from_j, vectors + k);
                const Vec<N> x_i = at(gv_i, k), y_i = at(gv_i, vectors + k), z_i = at(gv_i, 2 * vectors + k);
                const Vec<N> x_j = at(gv_j, k), y_j = at(gv_j, vectors + k), z_j = at(gv_j, 2 * vectors + k);
                const Vec<N> along_i = x_i * u0 + y_i * u1 + z_i * u2, along_j = x_j * u0 + y_j * u1 + z_j * u2;
                const Vec<N> to_i = rb * b_j, to_j = rb * b_i;
                sums[0] += at(slope, k) * (s_i * at(from_j, k) + s_j * at(from_i, k)) + at(slope, vectors + k) * (b_j * along_i - b_i * along_j);
                sums[1] += to_i * x_i - to_j * x_j;
                sums[2] += to_i * y_i - to_j * y_j;
                sums[3] += to_i * z_i - to_j * z_j;
                if constexpr (sends_vectors) {
                    const Vec<N> ra = at(filter, k), rc = at(filter, 2 * vectors + k);
                    at(ga_i, k) += ra * s_j;
                    at(ga_j, k) += ra * s_i;
                    at(ga_i, vectors + k) -= rb * along_j;
                    at(ga_j, vectors + k) += rb * along_i;
                    sums[0] += at(slope, 2 * vectors + k) *
                               (at(cv_j, k) * x_i + at(cv_j, vectors + k) * y_i + at(cv_j, 2 * vectors + k) * z_i +
                                at(cv_i, k) * x_j + at(cv_i, vectors + k) * y_j + at(cv_i, 2 * vectors + k) * z_j);
                    at(gc_j, k) += rc * x_i;
                    at(gc_j, vectors + k) += rc * y_i;
                    at(gc_j, 2 * vectors + k) += rc * z_i;
                    at(gc_i, k) += rc * x_j;
                    at(gc_i, vectors + k) += rc * y_j;
                    at(gc_i, 2 * vectors + k) += rc * z_j;
                }
            }
            add_sums(sums, pairs.gradient.data() + 4 * q);
        }
    }
}

}  // namespace
