// Functions of a distance that pairs are weakened, frozen and pushed apart by, with two derivatives.
#pragma once
#include "weights.h"

namespace {

// 1 - 35 u^4 + 84 u^5 - 70 u^6 + 20 u^7 of u = d / cutoff, and its derivatives by d.
struct Envelope {
    double value, slope, curve;
    Envelope(double d, double cutoff) {
        const double u = std::fmin(d / cutoff, 1.0), u2 = u * u, w = u * (1 - u);
        value = 1 - u2 * u2 * (35 - u * (84 - u * (70 - 20 * u)));
        slope = -140 * w * w * w / cutoff;
        curve = -420 * w * w * (1 - 2 * u) / (cutoff * cutoff);
    }
};

// The distance that the backbone sees: constant for atoms closer than any it has learned from.
struct Seen {
    double value, slope, curve = 0;
    Seen(double d, double nearest, double stretch) : value(stretch * d), slope(stretch) {
        constexpr double width = 0.2;
        if (d >= nearest) return;
        const double t = std::fmin((1 - d / nearest) / width, 1.0), t2 = t * t;
        const double excess = t2 * t2 * t * (7 - t * (14 - t * (10 - 2.5 * t)));
        value = stretch * (std::fmax(d, (1 - width) * nearest) + width * nearest * excess);
        const double w = t * (1 - t);
        curve = 140 * stretch * w * w * w / (width * nearest);
        slope = t < 1 ? stretch * (1 - t2 * t2 * (35 - t * (84 - t * (70 - 20 * t)))) : 0.0;
    }
};

// Screened nuclear repulsion of one pair within its radius, and its derivatives.
// Ziegler, Biersack, Littmark (1985), doi:10.1007/978-1-4615-8103-1_3.
struct Repulsion {
    double energy = 0, slope = 0, curve = 0;
    template <class T> Repulsion(double d, int a, int b, const Weights<T>& w) {
        static const double parts[] = {0.18175, 0.50986, 0.28022, 0.02817}, rates[] = {3.19980, 0.94229, 0.40290, 0.20162};
        const double radius = w.radius[a * w.sizes.species + b];
        if (!(d < radius)) return;
        const double rate = (w.power[a] + w.power[b]) / w.sizes.screening;
        double screen = 0, change = 0, bend = 0;
        for (int k = 0; k < 4; ++k) {
            const double part = parts[k] * std::exp(-rates[k] * rate * d);
            screen += part;
            change -= rates[k] * rate * part;
            bend += rates[k] * rate * rates[k] * rate * part;
        }
        const Envelope cut(d, radius);
        const double front = w.sizes.coulomb * w.charge[a] * w.charge[b] / d;
        energy = front * screen * cut.value;
        slope = front * (change * cut.value + screen * cut.slope) - energy / d;
        // From (d energy)'' = d front (screen cut)'', where d front is constant.
        curve = front * (bend * cut.value + 2 * change * cut.slope + screen * cut.curve) - 2 * slope / d;
    }
};

}  // namespace
