// One set of molecules: energies and forces, steps of velocity Verlet, functions to be learned on.
#pragma once
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "objects.h"

namespace {

template <class T> class SystemOf final : public System {
    const std::shared_ptr<const NetworkOf<T>> network_;  // lives as long as a system of it
    const Weights<T>& w_;
    std::vector<int32_t> species_;
    std::vector<Molecule> molecules_;
    const Cell cell_;
    std::vector<std::unique_ptr<Workspace<T>>> spaces_;  // of threads
    Array<T> linear_;
    std::mutex busy_;

  public:
    SystemOf(std::shared_ptr<const NetworkOf<T>> network, int molecules, const int32_t* first, const int32_t* species, const Cell& cell)
        : network_(std::move(network)), w_(network_->weights), species_(species, species + first[molecules]), cell_(cell) {
        for (int m = 0; m < molecules; ++m) molecules_.push_back({(size_t)first[m], first[m + 1] - first[m], {}});
    }

    void forces(const double* linear, const double* x, int threads, double* energy, double* f) override {
        const std::lock_guard<std::mutex> lock(busy_);
        set_linear(linear);
        each(threads, [&](size_t n, Workspace<T>& space) { energy[n] = at_positions(n, x, space, f); });
    }

    // Positions, momenta, energies and forces are those at the start, and then at the end.
    void flow(const double* linear, const double* inverse_masses, const double* mobile, double timestep, int steps, int threads,
              double* x, double* p, double* energy, double* f) override {
        const std::lock_guard<std::mutex> lock(busy_);
        set_linear(linear);
        each(threads, [&](size_t n, Workspace<T>& space) {
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

    // Hessians times vectors, [count][atoms of all][3], by central differences of the forces: along
    // each vector, so far that the atom of a molecule that moves most goes by the displacement.
    void hessian(const double* linear, const double* x, double displacement, int count, const double* vectors, int threads,
                 double* products) override {
        const std::lock_guard<std::mutex> lock(busy_);
        set_linear(linear);
        const size_t all = 3 * species_.size();
        each(threads, [&](size_t n, Workspace<T>& space) {
            Molecule& m = molecules_[n];
            const size_t first = 3 * m.first, size = 3 * (size_t)m.atoms;
            std::vector<double> moved(size), below(size), above(size);
            for (size_t c = 0; c < (size_t)count; ++c) {
                const double* v = vectors + c * all + first;
                double most = 0;
                for (size_t i = 0; i < size; i += 3) most = std::fmax(most, v[i] * v[i] + v[i + 1] * v[i + 1] + v[i + 2] * v[i + 2]);
                const double step = most > 0 ? displacement / std::sqrt(most) : 0.0;
                for (size_t i = 0; i < size; ++i) moved[i] = x[first + i] - step * v[i];
                forces_of(m, moved.data(), space, below.data());
                for (size_t i = 0; i < size; ++i) moved[i] = x[first + i] + step * v[i];
                forces_of(m, moved.data(), space, above.data());
                double* to = products + c * all + first;
                for (size_t i = 0; i < size; ++i) to[i] = most > 0 ? (below[i] - above[i]) / (2 * step) : 0.0;
            }
        });
    }

    // Of the first molecule: sums of the functions, and their derivatives by the coordinates as
    // central differences, [3 atoms][species][functions]; without these if slopes is null.
    void functions(const double* x, double displacement, double* sums, double* slopes) override {
        const std::lock_guard<std::mutex> lock(busy_);
        Molecule& m = molecules_[0];
        Workspace<T>& space = *space_of(0);
        functions_at(m, species_.data(), x, cell_, w_, space, sums);
        if (!slopes) return;
        const size_t count = (size_t)w_.sizes.species * w_.sizes.functions;
        std::vector<double> moved(x, x + 3 * m.atoms), below(count);
        for (int n = 0; n < 3 * m.atoms; ++n) {
            double* above = slopes + n * count;
            moved[n] = x[n] - displacement;
            const double low = moved[n];
            functions_at(m, species_.data(), moved.data(), cell_, w_, space, below.data());
            moved[n] = x[n] + displacement;
            const double width = moved[n] - low;
            functions_at(m, species_.data(), moved.data(), cell_, w_, space, above);
            for (size_t k = 0; k < count; ++k) above[k] = (above[k] - below[k]) / width;
            moved[n] = x[n];
        }
    }

    size_t pairs() const override { return spaces_.empty() ? 0 : spaces_[0]->pairs.count; }
    size_t bytes() const override {
        size_t sum = 0;
        for (const auto& space : spaces_) sum += space->bytes();
        for (const auto& m : molecules_) sum += m.neighbours.bytes();
        return sum;
    }

  private:
    double forces_of(Molecule& m, const double* x, Workspace<T>& space, double* f) {
        return energy_forces(m, species_.data() + m.first, x, cell_, linear_.data(), w_, space, f);
    }
    double at_positions(size_t n, const double* x, Workspace<T>& space, double* f) {
        Molecule& m = molecules_[n];
        return forces_of(m, x + 3 * m.first, space, f + 3 * m.first);
    }
    Workspace<T>* space_of(size_t thread) {
        while (spaces_.size() <= thread) spaces_.push_back(std::make_unique<Workspace<T>>());
        return spaces_[thread].get();
    }
    void set_linear(const double* linear) {
        const int S = w_.sizes.species, R = w_.sizes.functions, wide = w_.functions_wide;
        if (!R) return;
        T* to = linear_.need((size_t)S * wide);
        for (int s = 0; s < S; ++s)
            for (int n = 0; n < R; ++n) to[s * wide + n] = linear ? (T)linear[s * R + n] : (T)0;
    }

    // Molecule after molecule, each in the memory of the thread that has taken it: what a thread
    // writes stays in its caches, and no sum depends on how many threads there are.
    template <class Work> void each(int threads, Work work) {
        const size_t count = molecules_.size(), workers = std::min<size_t>(std::max(threads, 1), count);
        std::atomic<size_t> next{0};
        std::exception_ptr failed;
        std::mutex failing;
        auto run = [&](Workspace<T>* space) {
            try {
                for (size_t n; (n = next++) < count;) work(n, *space);
            } catch (...) {
                const std::lock_guard<std::mutex> lock(failing);
                failed = std::current_exception();
            }
        };
        std::vector<Workspace<T>*> spaces;
        for (size_t t = 0; t < workers; ++t) spaces.push_back(space_of(t));
        std::vector<std::thread> others;
        others.reserve(workers);
        try {
            for (size_t t = 1; t < workers; ++t) others.emplace_back(run, spaces[t]);
        } catch (const std::exception&) {
            // No more threads, or no memory for one: those that there are do all the work.
        }
        if (workers) run(spaces[0]);
        for (std::thread& other : others) other.join();
        if (failed) std::rethrow_exception(failed);
    }
};

}  // namespace
