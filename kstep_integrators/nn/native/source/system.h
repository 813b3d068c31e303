// One set of molecules: energies and forces, steps of velocity Verlet, functions to be learned on.
#pragma once
#include "objects.h"
#include "threads.h"

namespace {

constexpr int TOGETHER = 4;  // vectors whose products with a Hessian are computed together

template <class T> class SystemOf final : public System {
    const std::shared_ptr<const NetworkOf<T>> network_;  // lives as long as a system of it
    const Weights<T>& w_;
    std::vector<int32_t> species_;
    std::vector<Molecule> molecules_;
    Spaces<Workspace<T>> spaces_;
    Spaces<Workspace<Dual<T, 1>>> dual_spaces_;
    Spaces<Workspace<Dual<T, TOGETHER>>> together_spaces_;
    Array<T> linear_;
    std::mutex busy_;

  public:
    SystemOf(std::shared_ptr<const NetworkOf<T>> network, int molecules, const int32_t* first, const int32_t* species, const double* cells,
             const int32_t* periodic)
        : network_(std::move(network)), w_(network_->weights), species_(species, species + first[molecules]) {
        for (int m = 0; m < molecules; ++m)
            molecules_.push_back({(size_t)first[m], first[m + 1] - first[m], cells ? Cell(cells + 9 * m, periodic) : Cell(), {}});
    }

    void forces(const double* linear, const double* x, int threads, double* energy, double* f) override {
        const std::lock_guard<std::mutex> lock(busy_);
        set_linear(linear);
        spaces_.each(molecules_.size(), threads, [&](size_t n, Workspace<T>& space) { energy[n] = at_positions(n, x, space, f); });
    }

    // Positions, momenta, energies and forces are those at the start, and then at the end.
    void flow(const double* linear, const double* inverse_masses, const double* mobile, double timestep, int steps, int threads,
              double* x, double* p, double* energy, double* f) override {
        const std::lock_guard<std::mutex> lock(busy_);
        set_linear(linear);
        spaces_.each(molecules_.size(), threads, [&](size_t n, Workspace<T>& space) {
            const size_t first = molecules_[n].first, end = first + molecules_[n].atoms;
            auto kick = [&] {
                for (size_t i = first; i < end; ++i)
                    for (int a = 0; a < 3; ++a) p[3 * i + a] = (p[3 * i + a] + 0.5 * timestep * f[3 * i + a]) * mobile[i];
            };
            for (int step = 0; step < steps; ++step) {
                kick();
                for (size_t i = first; i < end; ++i)
                    for (int a = 0; a < 3; ++a) x[3 * i + a] += timestep * inverse_masses[i] * p[3 * i + a];
                energy[n] = at_positions(n, x, space, f);
                kick();
            }
        });
    }

    // Hessians times vectors, [count][atoms of all][3]: together as long as that is worth it.
    void hessian(const double* linear, const double* x, int count, const double* vectors, int threads, double* products) override {
        const std::lock_guard<std::mutex> lock(busy_);
        set_linear(linear);
        const int some = std::min(count, (count + 1) / TOGETHER * TOGETHER);
        const size_t all = 3 * species_.size();
        auto multiply_by = [&](auto& spaces, size_t from, size_t to) {
            if (from == to) return;
            spaces.each(molecules_.size(), threads, [&](size_t n, auto& space) {
                std::vector<const double*> v;
                std::vector<double*> p;
                for (size_t at = 3 * molecules_[n].first; from + v.size() < to;) {
                    const size_t c = from + v.size();
                    v.push_back(vectors + c * all + at);
                    p.push_back(products + c * all + at);
                }
                products_of(n, x + 3 * molecules_[n].first, space, (int)v.size(), v.data(), p.data());
            });
        };
        multiply_by(together_spaces_, 0, some);
        multiply_by(dual_spaces_, some, count);
    }

    void average(const double* linear, const double* rest, const double* rate, const double* weights, int first, int last, int threads,
                 double* path, double* mean) override {
        const std::lock_guard<std::mutex> lock(busy_);
        set_linear(linear);
        spaces_.each(molecules_.size(), threads, [&](size_t n, Workspace<T>& space) {
            average_steps(stretch(n, first, last), rest, rate, weights, path, mean,
                          [&](const double* x, double* f) { forces_of(n, x, space, f); });
        });
    }

    void average_adjoint(const double* linear, const double* rate, const double* weights, const double* path, const double* g,
                         int first, int last, int threads, double* ahead, double* after) override {
        const std::lock_guard<std::mutex> lock(busy_);
        set_linear(linear);
        dual_spaces_.each(molecules_.size(), threads, [&](size_t n, Workspace<Dual<T, 1>>& space) {
            average_back(stretch(n, first, last), rate, weights, path, g, ahead, after,
                         [&](const double* x, const double* v, double* product) { products_of(n, x, space, 1, &v, &product); });
        });
    }

    // Of the first molecule: sums of the functions, and their derivatives by some coordinates,
    // [count][species][functions]. Threads share out the coordinates.
    void functions(const double* x, int count, const int32_t* coordinates, int threads, double* sums, double* slopes) override {
        const std::lock_guard<std::mutex> lock(busy_);
        Molecule& m = molecules_[0];
        functions_at(m, species_.data(), x, w_, *spaces_.of(0), nullptr, &sums);  // finds the neighbours for all that follow
        const size_t width = (size_t)w_.sizes.species * w_.sizes.functions, size = 3 * (size_t)m.atoms;
        const size_t groups = ((size_t)count + TOGETHER - 1) / TOGETHER;
        together_spaces_.each(groups, threads, [&](size_t group, Workspace<Dual<T, TOGETHER>>& space) {
            std::vector<double> units(TOGETHER * size), nobody(width);
            const double* along[TOGETHER];
            double* to[TOGETHER];
            for (int v = 0; v < TOGETHER; ++v) {
                const int n = (int)group * TOGETHER + v;
                if (n < count) units[v * size + coordinates[n]] = 1.0;
                along[v] = units.data() + v * size;
                to[v] = n < count ? slopes + n * width : nobody.data();
            }
            functions_at(m, species_.data(), x, w_, space, along, to);
        });
    }

    size_t pairs() override { return spaces_.of(0)->pairs.count; }
    size_t bytes() const override {
        size_t sum = spaces_.bytes() + dual_spaces_.bytes() + together_spaces_.bytes();
        for (const auto& m : molecules_) sum += m.neighbours.bytes();
        return sum;
    }

  private:
    // Of molecule n, whose coordinates alone are given.
    double forces_of(size_t n, const double* x, Workspace<T>& space, double* f) {
        Molecule& m = molecules_[n];
        return energy_forces(m, species_.data() + m.first, x, linear_.data(), w_, space, f);
    }
    template <int V>
    void products_of(size_t n, const double* x, Workspace<Dual<T, V>>& space, int count, const double* const* vectors, double* const* products) {
        Molecule& m = molecules_[n];
        hessian_times(m, species_.data() + m.first, x, linear_.data(), w_, space, count, vectors, products);
    }
    double at_positions(size_t n, const double* x, Workspace<T>& space, double* f) {
        const size_t at = 3 * molecules_[n].first;
        return forces_of(n, x + at, space, f + at);
    }
    Stretch stretch(size_t n, int first, int last) const {
        return {3 * species_.size(), 3 * molecules_[n].first, 3 * (size_t)molecules_[n].atoms, first, last};
    }
    void set_linear(const double* linear) {
        const int S = w_.sizes.species, R = w_.sizes.functions, wide = w_.functions_wide;
        if (!R) return;
        T* to = linear_.need((size_t)S * wide);
        for (int s = 0; s < S; ++s)
            for (int n = 0; n < R; ++n) to[s * wide + n] = linear ? (T)linear[s * R + n] : (T)0;
    }
};

}  // namespace
