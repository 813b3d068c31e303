// Positions averaged along a flow from rest, and the adjoint of that: of one molecule.
//
// Garcia-Archilla, Sanz-Serna, Skeel (1999), doi:10.1137/S1064827596313851. With steps of velocity
// Verlet from rest at x_0 and r the squared step over the mass, 0 for atoms that are fixed,
// x_1 = x_0 + r F(x_0) / 2 and x_j+1 = 2 x_j - x_j-1 + r F(x_j), the mean is the sum of w_j x_j.
#pragma once
#include "hessian.h"

namespace {

// Where the molecule's coordinates lie in the arrays of all, and the steps to be taken.
struct Stretch {
    size_t all, at, size;  // coordinates of all molecules, before this one, of it
    int first, last;       // from x_first to x_last
};

// Steps on; `path` is [steps + 1][all], `rest` the forces at x_0 (of all), `forces` gives those at
// the positions of the molecule. The mean is begun at x_0, and what each step adds to it is added:
// with weights that sum to one, atoms that are fixed stay in place to the last bit.
template <class Forces>
void average_steps(const Stretch& s, const double* rest, const double* rate, const double* weights, double* path, double* mean, Forces forces) {
    std::vector<double> pull(rest + s.at, rest + s.at + s.size);
    const double* start = path + s.at;
    if (s.first == 0) std::copy(start, start + s.size, mean + s.at);
    for (int step = s.first; step < s.last; ++step) {
        const double *now = path + step * s.all + s.at, *before = step ? now - s.all : now;
        double* next = path + (step + 1) * s.all + s.at;
        if (step) forces(now, pull.data());
        for (size_t i = 0; i < s.size; ++i) {
            const double push = rate[(s.at + i) / 3] * pull[i];
            next[i] = now[i] + (now[i] - before[i]) + (step ? push : 0.5 * push);
            mean[s.at + i] += weights[step + 1] * (next[i] - start[i]);
        }
    }
}

// Steps back from x_last to x_first: with H the Hessian at x_j,
// l_j = w_j g + 2 l_j+1 - l_j+2 - H r l_j+1, and with half of what is after w_j g, but all of
// l_j+2, at x_0. `ahead` and `after` are l_j+1 and l_j+2 (of all), before and after the call.
template <class Product>
void average_back(const Stretch& s, const double* rate, const double* weights, const double* path, const double* g, double* ahead,
                  double* after, Product product) {
    std::vector<double> pushed(s.size), pulled(s.size);
    for (int step = s.last - 1; step >= s.first; --step) {
        for (size_t i = 0; i < s.size; ++i) pushed[i] = rate[(s.at + i) / 3] * ahead[s.at + i];
        product(path + step * s.all + s.at, pushed.data(), pulled.data());
        const double times = step ? 1.0 : 0.5;
        for (size_t i = s.at; i < s.at + s.size; ++i) {
            const double mine = weights[step] * g[i] + times * (2 * ahead[i] - pulled[i - s.at]) - after[i];
            after[i] = ahead[i];
            ahead[i] = mine;
        }
    }
}

}  // namespace
