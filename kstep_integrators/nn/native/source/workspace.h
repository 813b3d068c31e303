// Memory of one pass over a molecule, used again for the next.
#pragma once
#include "pairs.h"

namespace {

constexpr int ATOMS = 24;                       // of a block that is taken through a layer together
constexpr size_t KEPT_FILTERS = (size_t)1 << 21;  // bytes of filters that are kept for the way back

// What a layer leaves for the backward pass; rows of atoms, each of some times the channels.
template <class N> struct Kept {
    N *phi, *phi_slope;  // 3: a, b, c of the messages; 1
    N *v, *cv;           // 3: vectors that came in; c times these
    N *x;                // 2: scalars between message and update, norms
    N *lr, *dot;         // 6: left and right vectors; 1: their product
    N *out, *hidden_slope;  // 3: a_ss, a_sv, a_vv; 1
};

template <class N> struct Workspace {
    Pairs<N> pairs;
    std::vector<Kept<N>> layers;
    N *s, *v;                        // 1: scalars after a layer; 3: vectors after the last
    N *gs, *gv, *gphi, *gcv;         // gradients by scalars, vectors, messages, and c times vectors
    Array<N> filters, slopes;        // [layer][pair][3 wide]; [BLOCK][3 wide]
    Array<N> invariants, ginvariants;  // [atom][2 layers wide], for a linear readout
    Array<N> h, h3, h6;              // of a block of atoms
    Array<N> functions;              // [ATOMS][functions]
    bool keeps_filters = true;

    void prepare(int n, const Weights<Real<N>>& w) {
        const size_t unit = (size_t)n * w.wide;
        const int L = w.sizes.layers;
        N* free = rows_.need(unit * (23 * L + 14));
        auto rows = [&free, unit](int count) {
            N* mine = free;
            free += count * unit;
            return mine;
        };
        layers.resize(L);
        for (Kept<N>& y : layers)
            y = {rows(3), rows(1), rows(3), rows(3), rows(2), rows(6), rows(1), rows(3), rows(1)};
        s = rows(1);
        v = rows(3);
        gs = rows(1);
        gv = rows(3);
        gphi = rows(3);
        gcv = rows(3);
        const size_t pair = 3 * w.wide * sizeof(N), all = pairs.blocks * BLOCK * pair * L;
        keeps_filters = all <= KEPT_FILTERS;
        filters.need((keeps_filters ? all : BLOCK * pair) / sizeof(N));
        slopes.need(BLOCK * 3 * w.wide);
        const int widest = std::max(w.wide, std::max(w.readout_wide, w.functions_wide));
        h.need((size_t)ATOMS * widest);
        h3.need((size_t)ATOMS * 3 * w.wide);
        h6.need((size_t)ATOMS * 6 * w.wide);
        if (w.sizes.functions) {
            functions.need((size_t)ATOMS * w.functions_wide);
            invariants.need((size_t)n * w.invariants);
            ginvariants.need((size_t)n * w.invariants);
        }
    }
    // Filters of a block of pairs in one layer.
    N* filters_of(int layer, size_t block, int wide) {
        return filters.data() + (keeps_filters ? ((size_t)layer * pairs.blocks + block) * BLOCK * 3 * wide : 0);
    }
    size_t bytes() const {
        return pairs.bytes() + rows_.bytes() + filters.bytes() + slopes.bytes() + invariants.bytes() +
               ginvariants.bytes() + h.bytes() + h3.bytes() + h6.bytes() + functions.bytes();
    }

  private:
    Array<N> rows_;
};

}  // namespace
