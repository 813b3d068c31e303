// Weights of a PaiNN energy network, packed for products and for those of the backward pass.
//
// Channels are padded with zeros to whole vectors: a padded channel stays zero from the embedding
// to the energy.
#pragma once
#include <vector>

#include "padded.h"

// Sizes and constants of a network; the Python side declares the same.
struct KStepSizes {
    int32_t species, channels, layers, radial;
    int32_t readout;    // width of the readout's hidden layer, 0 for no readout
    int32_t functions;  // of the linear readout, 0 for none
    int32_t repulsion;  // 1 or 0
    int32_t is_double;
    double cutoff;     // angstrom
    double scale;      // eV, of the readout
    double amplitude;  // of a function of the linear readout
    double coulomb;    // eV angstrom
    double screening;  // angstrom, of the nuclear repulsion
};

namespace {

template <class T> struct LayerWeights {
    Matrix<T> in, phi, filter, mix, hidden, out;  // forward
    Matrix<T> in_back, phi_back, mix_back, hidden_back, out_back;
};

template <class T> struct Weights {
    KStepSizes sizes;
    int wide, readout_wide, functions_wide, invariants;  // padded widths
    Array<T> embedding;                                  // [species][wide]
    Array<T> first;  // a and b of the first layer's messages, [species][2 wide]
    std::vector<LayerWeights<T>> layers;
    Matrix<T> readout, readout_back, directions, directions_back;
    Array<T> last, phases;
    double last_bias = 0;
    std::vector<double> nearest, stretch, radius, charge, power;  // of pairs of species, of species
    double reach;  // angstrom: no pair beyond it matters

    // numbers: see `native/weights.py`, which writes them in this order.
    Weights(const KStepSizes& s, const double* numbers) : sizes(s) {
        const int F = s.channels, S = s.species, R = s.radial;
        wide = padded_to(F, LANES<T>);
        readout_wide = padded_to(s.readout, LANES<T>);
        functions_wide = padded_to(s.functions, LANES<T>);
        invariants = 2 * s.layers * wide;
        auto take = [&numbers](size_t count) {
            const double* from = numbers;
            numbers += count;
            return from;
        };
        auto table = [&take](size_t count) {
            const double* from = take(count);
            return std::vector<double>(from, from + count);
        };
        nearest = table(S * S);
        stretch = table(S * S);
        radius = table(S * S);
        charge = table(S);
        power = table(S);
        reach = s.cutoff;
        for (int n = 0; n < S * S; ++n) {
            reach = std::fmax(reach, s.cutoff / stretch[n]);
            if (s.repulsion) reach = std::fmax(reach, radius[n]);
        }
        const double* embedded = take((size_t)S * F);
        const Blocks one{1, F, wide}, two{2, F, wide}, three{3, F, wide};
        for (int l = 0; l < s.layers; ++l) {
            LayerWeights<T> y;
            const double *wi = take(F * F), *bi = take(F), *wp = take(3 * F * F), *bp = take(3 * F);
            const double *wf = take(3 * F * R), *bf = take(3 * F), *wm = take(2 * F * F);
            const double *wh = take(2 * F * F), *bh = take(F), *wo = take(3 * F * F), *bo = take(3 * F);
            // Without vectors to send, or to hand on, a third of the rows is for nobody.
            const Blocks sent = l ? three : two;
            const Blocks made = l + 1 < s.layers || s.functions ? three : two;
            y.in = forward<T>(wi, bi, one, one);
            y.in_back = backward<T>(wi, one, one);
            y.phi = forward<T>(wp, bp, three, one);
            y.phi_back = backward<T>(wp, three, one);
            y.filter = forward<T>(filters(wf, bf, 3 * F, R).data(), nullptr, sent, {1, R + 1, R + 1});
            y.mix = forward<T>(wm, nullptr, two, one);
            y.mix_back = backward<T>(wm, two, one);
            y.hidden = forward<T>(wh, bh, one, two);
            y.hidden_back = backward<T>(wh, one, two);
            y.out = forward<T>(wo, bo, made, one);
            y.out_back = backward<T>(wo, made, one);
            if (l == 0) first_messages(embedded, y);
            layers.push_back(std::move(y));
        }
        if (s.readout) {
            const Blocks narrow{1, s.readout, readout_wide};
            const double *wr = take(s.readout * F), *br = take(s.readout), *wl = take(s.readout);
            readout = forward<T>(wr, br, narrow, one);
            readout_back = backward<T>(wr, narrow, one);
            T* l = last.need(readout_wide);
            for (int n = 0; n < s.readout; ++n) l[n] = (T)wl[n];
            last_bias = *take(1);
        }
        if (s.functions) {
            // Given as [invariants][functions]: the transposed matrix of the products.
            const Blocks all{2 * s.layers, F, wide}, some{1, s.functions, functions_wide};
            const double *wd = take((size_t)all.whole() * s.functions), *bd = take(s.functions);
            directions = packed<T>(functions_wide, invariants, spread(wd, all, some, true), spread(bd, some));
            directions_back = packed<T>(invariants, functions_wide, spread(wd, all, some, false), {});
        }
    }

    // Bytes of everything that is packed.
    size_t bytes() const {
        size_t sum = embedding.bytes() + first.bytes() + last.bytes();
        auto add = [&sum](const Matrix<T>& m) { sum += m.panels.bytes() + m.bias.bytes(); };
        for (const auto& y : layers)
            for (const auto* m : {&y.in, &y.phi, &y.filter, &y.mix, &y.hidden, &y.out, &y.in_back, &y.phi_back,
                                  &y.mix_back, &y.hidden_back, &y.out_back}) add(*m);
        for (const auto* m : {&readout, &readout_back, &directions, &directions_back}) add(*m);
        return sum;
    }

  private:
    // The bias of a filter is the weight of one more radial function, the cutoff.
    static std::vector<double> filters(const double* w, const double* b, int outputs, int radial) {
        std::vector<double> all;
        for (int n = 0; n < outputs; ++n) {
            all.insert(all.end(), w + (size_t)n * radial, w + (size_t)(n + 1) * radial);
            all.push_back(b[n]);
        }
        return all;
    }

    // The first layer's messages depend on the element alone.
    void first_messages(const double* embedded, const LayerWeights<T>& y) {
        const int F = sizes.channels, S = sizes.species;
        T* e = embedding.need((size_t)S * wide);
        for (int s = 0; s < S; ++s)
            for (int n = 0; n < F; ++n) e[s * wide + n] = (T)embedded[s * F + n];
        Array<T> h((size_t)S * wide), all((size_t)S * 3 * wide);
        multiply(S, e, wide, y.in, h.data(), wide);
        for (int k = 0; k < S * wide / LANES<T>; ++k) silu(at(h.data(), k));
        multiply(S, h.data(), wide, y.phi, all.data(), 3 * wide);
        T* f = first.need((size_t)S * 2 * wide);
        for (int s = 0; s < S; ++s) std::memcpy(f + s * 2 * wide, all.data() + s * 3 * wide, 2 * wide * sizeof(T));
    }
};

}  // namespace
