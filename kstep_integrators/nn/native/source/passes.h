// The forward and the backward pass of a molecule: its energy and its forces.
#pragma once
#include <limits>

#include "layer_back.h"
#include "readout.h"

namespace {

// Atoms of one molecule, and the pairs that it may have.
struct Molecule {
    size_t first;  // of its atoms among those of all
    int atoms;
    Cell cell;
    Neighbours neighbours;
};

template <class N> void forward_pass(const Molecule& m, const int32_t* species, const Weights<Real<N>>& w, Workspace<N>& space) {
    for (int l = 0; l < w.sizes.layers; ++l) {
        N* v = vectors_after(l, w, space);
        if (l == 0) {
            embed(m.atoms, species, w, space);
            send<false>(l, w, space, v);
        } else {
            in_blocks(m.atoms, [&](Block b) { prepare_messages(l, b, w, space); });
            send<true>(l, w, space, v);
        }
        in_blocks(m.atoms, [&](Block b) { update(l, b, w, space); });
        if (w.sizes.functions) keep_invariants(l, m.atoms, w, space);
    }
}

template <class N> void backward_pass(const Molecule& m, const Weights<Real<N>>& w, Workspace<N>& space) {
    const size_t vectors = (size_t)m.atoms * 3 * w.wide * sizeof(N);
    std::memset(space.gv, 0, vectors);
    for (int l = w.sizes.layers - 1; l >= 0; --l) {
        if (w.sizes.functions) invariants_back(l, m.atoms, w, space);
        in_blocks(m.atoms, [&](Block b) { update_back(l, b, w, space); });
        if (l == 0) {
            send_back<false>(l, w, space);
            return;
        }
        std::memset(space.gphi, 0, vectors);
        std::memset(space.gcv, 0, vectors);
        send_back<true>(l, w, space);
        in_blocks(m.atoms, [&](Block b) { prepare_messages_back(l, b, w, space); });
    }
}

// Gradients of the pairs as forces on their atoms, with the repulsion.
template <class T>
double pair_forces(const Molecule& m, const int32_t* species, const Weights<T>& w, const Pairs<T>& pairs, double* forces) {
    double energy = 0;
    std::memset(forces, 0, 3 * m.atoms * sizeof(double));
    for (size_t q = 0; q < pairs.count; ++q) {
        const int i = pairs.i[q], j = pairs.j[q];
        const T* g = pairs.gradient.data() + 4 * q;
        const double *u = pairs.unit.data() + 4 * q, d = pairs.distance.data()[q];
        const double along = g[1] * u[0] + g[2] * u[1] + g[3] * u[2];
        double pull = g[0] * pairs.slope.data()[q] - along / d;
        if (w.sizes.repulsion) {
            const Repulsion r(d, species[i], species[j], w);
            energy += r.energy;
            pull += r.slope;
        }
        for (int a = 0; a < 3; ++a) {
            const double f = pull * u[a] + g[1 + a] / d;
            forces[3 * i + a] += f;
            forces[3 * j + a] -= f;
        }
    }
    return energy;
}

// Whether differences of the positions, and the numbers of their cells, can be represented.
inline bool usable(const Molecule& m, const double* x) {
    const double most = m.cell.any() ? 1e9 : 1e150;
    for (int n = 0; n < 3 * m.atoms; ++n)
        if (!(std::fabs(x[n]) <= most)) return false;
    return true;
}

// The forward pass of a molecule whose pairs have been found.
template <class N> void forward(const Molecule& m, const int32_t* species, const Weights<Real<N>>& w, Workspace<N>& space) {
    space.pairs.prepare(w);
    space.prepare(m.atoms, w);
    forward_pass(m, species, w, space);
}

// Both passes; gradients by the pairs are left with these. Returns the energy, without repulsion.
template <class N>
double gradients(const Molecule& m, const int32_t* species, const Real<N>* linear, const Weights<Real<N>>& w, Workspace<N>& space) {
    forward(m, species, w, space);
    double energy = 0;
    if (!w.sizes.readout) std::memset(space.gs, 0, (size_t)m.atoms * w.wide * sizeof(N));
    in_blocks(m.atoms, [&](Block b) {
        if (w.sizes.readout) energy += readout(b, w, space);
        if (w.sizes.functions) energy += linear_readout(b, species, linear, w, space);
    });
    backward_pass(m, w, space);
    return energy;
}

template <class N>
void find_pairs(Molecule& m, const int32_t* species, const double* x, const Weights<Real<N>>& w, Workspace<N>& space) {
    m.neighbours.refresh(m.atoms, x, m.cell, w.reach);
    space.pairs.find(m.neighbours.candidates, x, species, m.cell, w);
}

// Energy (eV) and forces (3 atoms, eV/angstrom) at x (angstrom); not a number for a molecule with
// a position that is none. `species` are those of the molecule, `linear` the weights of a linear
// readout, [species][functions_wide].
template <class T>
double energy_forces(Molecule& m, const int32_t* species, const double* x, const T* linear,
                     const Weights<T>& w, Workspace<T>& space, double* forces) {
    if (!usable(m, x)) {
        std::fill(forces, forces + 3 * m.atoms, std::numeric_limits<double>::quiet_NaN());
        return std::numeric_limits<double>::quiet_NaN();
    }
    find_pairs(m, species, x, w, space);
    const double energy = gradients(m, species, linear, w, space);
    return energy + pair_forces(m, species, w, space.pairs, forces);
}

// Sums of the functions of a linear readout at x, [species][functions]; of dual numbers their
// derivatives while atoms move along directions, each of 3 atoms.
template <class N>
void functions_at(Molecule& m, const int32_t* species, const double* x, const Weights<Real<N>>& w, Workspace<N>& space,
                  const double* const* along, double* const* sums) {
    const size_t count = (size_t)w.sizes.species * w.sizes.functions;
    const double start = usable(m, x) ? 0.0 : std::numeric_limits<double>::quiet_NaN();
    for (int n = 0; n < std::max(1, ALONG<N>); ++n) std::fill(sums[n], sums[n] + count, start);
    if (!usable(m, x)) return;
    find_pairs(m, species, x, w, space);
    if constexpr (ALONG<N> > 0) space.pairs.move(along);
    forward(m, species, w, space);
    in_blocks(m.atoms, [&](Block b) { sum_functions(b, species, w, space, sums); });
}

}  // namespace
