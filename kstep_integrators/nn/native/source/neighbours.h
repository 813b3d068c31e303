// Pairs of atoms that may be within the cutoff, periodic images included, from bins of space.
//
// Candidates stand in the order of (i, j, image) whatever geometry they were found at: the pairs
// within the cutoff, and every sum over them, are then functions of the positions alone, and a
// list can be kept while no atom has moved far without a trace in the numbers.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "cell.h"

namespace {

constexpr double SKIN = 1.0;  // angstrom

struct Candidate {
    int32_t i, j;
    std::array<int32_t, 3> image;  // of j, in cell vectors
    bool operator<(const Candidate& o) const { return j != o.j ? j < o.j : image < o.image; }
};

class Neighbours {
    std::vector<double> built_at_, fractions_;
    std::vector<std::array<int32_t, 3>> wraps_;
    std::vector<int32_t> start_, order_, bin_;

  public:
    std::vector<Candidate> candidates;

    // Find them anew if an atom has moved by more than half the skin.
    void refresh(int n, const double* x, const Cell& cell, double reach) {
        bool fresh = built_at_.empty();
        for (int i = 0; !fresh && i < n; ++i) {
            double moved = 0;
            for (int c = 0; c < 3; ++c) moved += (x[3 * i + c] - built_at_[3 * i + c]) * (x[3 * i + c] - built_at_[3 * i + c]);
            fresh = moved > 0.25 * SKIN * SKIN;
        }
        if (fresh) build(n, x, cell, reach + SKIN);
    }
    size_t bytes() const { return candidates.capacity() * sizeof(Candidate) + built_at_.capacity() * 16 + bin_.capacity() * 20; }

  private:
    void build(int n, const double* x, const Cell& cell, double reach) {
        built_at_.clear();  // until all are found: without memory for them, the next call begins anew
        candidates.clear();
        double low[3], extent[3];
        fractions_.resize(3 * n);
        wraps_.assign(n, {0, 0, 0});
        for (int d = 0; d < 3; ++d) {
            double least = 1e300, most = -1e300;
            for (int i = 0; i < n; ++i) {
                double f = x[3 * i] * cell.inverse[d] + x[3 * i + 1] * cell.inverse[3 + d] + x[3 * i + 2] * cell.inverse[6 + d];
                if (cell.periodic[d]) {
                    const double whole = std::floor(f);
                    wraps_[i][d] = (int32_t)whole;
                    f -= whole;
                }
                fractions_[3 * i + d] = f;
                least = std::fmin(least, f);
                most = std::fmax(most, f);
            }
            low[d] = cell.periodic[d] ? 0.0 : least;
            extent[d] = cell.periodic[d] ? 1.0 : most - least;
        }
        // No more bins than some per atom, however far apart they are.
        const int limit = 2 + 2 * (int)std::cbrt((double)n);
        int bins[3], range[3];
        for (int d = 0; d < 3; ++d) {
            const double length = extent[d] * cell.heights[d];
            bins[d] = std::max(1, (int)std::fmin(length / reach, limit));
            range[d] = cell.periodic[d] ? (int)std::ceil(reach * bins[d] / length) : std::min(1, bins[d] - 1);
        }
        bin_.resize(n);
        start_.assign((size_t)bins[0] * bins[1] * bins[2] + 1, 0);
        for (int i = 0; i < n; ++i) {
            int b[3];
            for (int d = 0; d < 3; ++d) {
                const double place = extent[d] > 0 ? (fractions_[3 * i + d] - low[d]) / extent[d] : 0.0;
                b[d] = std::min(bins[d] - 1, (int)(place * bins[d]));
            }
            bin_[i] = (b[0] * bins[1] + b[1]) * bins[2] + b[2];
            ++start_[bin_[i] + 1];
        }
        for (size_t b = 1; b < start_.size(); ++b) start_[b] += start_[b - 1];
        order_.resize(n);
        std::vector<int32_t> next(start_.begin(), start_.end() - 1);
        for (int i = 0; i < n; ++i) order_[next[bin_[i]]++] = i;
        const bool sorted = start_.size() == 2 && !cell.any();
        for (int i = 0; i < n; ++i) {
            const size_t before = candidates.size();
            around(i, x, cell, reach * reach, bins, range);
            if (!sorted) std::sort(candidates.begin() + before, candidates.end());
        }
        built_at_.assign(x, x + 3 * n);
    }

    // Candidates of one atom, each pair once.
    void around(int i, const double* x, const Cell& cell, double reach2, const int* bins, const int* range) {
        const int home[3] = {bin_[i] / (bins[1] * bins[2]), bin_[i] / bins[2] % bins[1], bin_[i] % bins[2]};
        std::array<int32_t, 3> image;
        int b[3], o[3];
        // The bin at an offset along one direction, and the cell that it lies in.
        auto step = [&](int d) {
            const int place = home[d] + o[d];
            if (!cell.periodic[d]) return image[d] = 0, b[d] = place, place >= 0 && place < bins[d];
            image[d] = place >= 0 ? place / bins[d] : -((bins[d] - 1 - place) / bins[d]);
            b[d] = place - image[d] * bins[d];
            return true;
        };
        for (o[0] = -range[0]; o[0] <= range[0]; ++o[0]) {
            if (!step(0)) continue;
            for (o[1] = -range[1]; o[1] <= range[1]; ++o[1]) {
                if (!step(1)) continue;
                for (o[2] = -range[2]; o[2] <= range[2]; ++o[2])
                    if (step(2)) within(i, x, cell, reach2, (b[0] * bins[1] + b[1]) * bins[2] + b[2], image);
            }
        }
    }

    void within(int i, const double* x, const Cell& cell, double reach2, int bin, const std::array<int32_t, 3>& image) {
        for (int q = start_[bin]; q < start_[bin + 1]; ++q) {
            const int j = order_[q];
            if (j < i) continue;
            std::array<int32_t, 3> shift;
            for (int d = 0; d < 3; ++d) shift[d] = image[d] - wraps_[j][d] + wraps_[i][d];
            if (j == i && !(shift > std::array<int32_t, 3>{0, 0, 0})) continue;
            double distance2 = 0;
            for (int c = 0; c < 3; ++c) {
                const double* v = cell.vectors + c;
                const double along = x[3 * j + c] - x[3 * i + c] + shift[0] * v[0] + shift[1] * v[3] + shift[2] * v[6];
                distance2 += along * along;
            }
            if (distance2 < reach2) candidates.push_back({i, j, shift});
        }
    }
};

}  // namespace
