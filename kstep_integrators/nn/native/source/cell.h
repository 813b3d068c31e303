// The cell of a periodic system, or of one that is not.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

namespace {

// Cell vectors as rows, angstrom; directions that are not periodic have any vector that is not in
// the plane of the others.
struct Cell {
    double vectors[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    bool periodic[3] = {false, false, false};
    double inverse[9], heights[3];  // heights: distances of opposite faces

    Cell() { prepare(); }
    Cell(const double* v, const int32_t* p) {
        std::copy(v, v + 9, vectors);
        for (int d = 0; d < 3; ++d) periodic[d] = p[d] != 0;
        prepare();
    }
    bool any() const { return periodic[0] || periodic[1] || periodic[2]; }

  private:
    void prepare() {
        const double* v = vectors;
        double cross[9];
        for (int d = 0; d < 3; ++d) {
            const double *a = v + (d + 1) % 3 * 3, *b = v + (d + 2) % 3 * 3;
            for (int c = 0; c < 3; ++c) cross[3 * d + c] = a[(c + 1) % 3] * b[(c + 2) % 3] - a[(c + 2) % 3] * b[(c + 1) % 3];
        }
        const double volume = v[0] * cross[0] + v[1] * cross[1] + v[2] * cross[2];
        for (int d = 0; d < 3; ++d) {
            const double* c = cross + 3 * d;
            heights[d] = std::fabs(volume) / std::sqrt(c[0] * c[0] + c[1] * c[1] + c[2] * c[2]);
            for (int k = 0; k < 3; ++k) inverse[3 * k + d] = c[k] / volume;  // columns: fractions = x . inverse
        }
    }
};

}  // namespace
