"""Verdicts: sound runs pass, and every planted fault is caught where it belongs."""

import dataclasses

import numpy as np
import pytest

from kstep_training.evaluate.checks import MISS, OPEN, PASS, Check, overall
from kstep_training.evaluate.metrics import molecule_metrics
from kstep_training.evaluate.verdict import check_molecule
from tests.training.evaluate.harmonic_runs import METHODS, SETTINGS, records

BAR = "verlet-1"
IMPULSE, JUMPS = "impulse-4", "metropolis-20"


@pytest.fixture(scope="module")
def sound():
    return records()


DYNAMICS = ("reference", "fine", BAR, IMPULSE)
ENSEMBLE = ("langevin", JUMPS)


def judged(runs, names=DYNAMICS, bar=BAR):
    kept = {name: runs[name] for name in names}
    metrics = molecule_metrics("methanol", kept, METHODS, SETTINGS)
    return {(c.promise, c.method, c.what): c for c in check_molecule(metrics, bar)}


@pytest.fixture(scope="module")
def verdicts(sound):
    return judged(sound, DYNAMICS + ENSEMBLE)


def planted(sound, method, change, seeds=range(8)):
    """The sound runs but for a fault in some of one method."""
    runs = [change(r) if i in seeds else r for i, r in enumerate(sound[method])]
    return {**sound, method: runs}


def missed(checks):
    return {key for key, check in checks.items() if check.status == MISS}


def facts(record, **changes):
    return dataclasses.replace(record, facts={**record.facts, **changes})


def test_sound_runs_pass(verdicts):
    assert missed(verdicts) == set()
    for what in ("trajectory", "fluctuation", "bends", "stretches", "equipartition", "bonds"):
        assert verdicts["dynamics", IMPULSE, what].status == PASS
    for what in ("bonds", "angles", "dihedrals", "energy", "equipartition"):
        assert verdicts["ensemble", JUMPS, what].status == PASS
    for what in ("evaluations", "energies", "residual", "predicted energies"):
        assert verdicts["honesty", IMPULSE, what].status == PASS
    assert verdicts["references", "reference", "independent seeds"].status == PASS


def test_the_numbers_are_those_put_in(verdicts):
    # The bar's frequencies are 1 % too high, the jumps' 0.04 %.
    ratio = verdicts["dynamics", IMPULSE, "trajectory"].value
    assert ratio < 0.2
    assert abs(verdicts["dynamics", IMPULSE, "stretches"].value) < 5.0
    assert verdicts["dynamics", IMPULSE, "stretches"].limit == pytest.approx(32.0, abs=6.0)


def test_heated_hydrogens(sound):
    def heat(r):
        momenta = r.momenta.copy()
        momenta[:, r.numbers == 1] *= np.sqrt(1.15)
        return dataclasses.replace(r, momenta=momenta)

    checks = judged(planted(sound, IMPULSE, heat))
    check = checks["dynamics", IMPULSE, "equipartition"]
    assert check.status == MISS
    assert "of H" in check.explanation
    assert check.value == pytest.approx(45.0, rel=0.4)


def test_a_bath_of_another_temperature(sound):
    def heat(r):
        return dataclasses.replace(r, momenta=r.momenta * np.sqrt(1.1))

    checks = judged(planted(sound, JUMPS, heat), ENSEMBLE)
    assert missed(checks) == {("ensemble", JUMPS, "equipartition")}
    assert checks["ensemble", JUMPS, "equipartition"].value == pytest.approx(30.0, rel=0.3)


def test_shifted_spectrum(sound):
    from tests.training.evaluate.harmonic_runs import Harmonic

    molecule = Harmonic()
    runs = [molecule.run(701, 2.0, s, 1.02, 2e-4) for s in range(8)]
    checks = judged({**sound, IMPULSE: runs})
    check = checks["dynamics", IMPULSE, "stretches"]
    assert check.status == MISS
    assert check.value == pytest.approx(0.02 * 3250.0, rel=0.2)
    assert checks["dynamics", IMPULSE, "trajectory"].status == MISS


def stretched(r):
    positions = r.positions.copy()
    positions[400:, -1] += 2.0
    return dataclasses.replace(r, positions=positions)


def test_broken_bond(sound):
    checks = judged(planted(sound, IMPULSE, stretched, seeds=[3]))
    assert checks["dynamics", IMPULSE, "intact bonds"].status == MISS
    assert checks["dynamics", IMPULSE, "intact bonds"].value == 1
    # And nobody heard of it.
    assert checks["honesty", IMPULSE, "broken bonds reported"].status == MISS
    reported = judged(
        planted(sound, IMPULSE, lambda r: facts(stretched(r), bond_changes=1), seeds=[3])
    )
    assert reported["honesty", IMPULSE, "broken bonds reported"].status == PASS


def handed_over(r):
    """A hydrogen of the methyl group goes to the oxygen, on the side away from carbon."""
    carbon, oxygen, hydrogen = (int(np.flatnonzero(r.numbers == z)[0]) for z in (6, 8, 1))
    positions = r.positions.copy()
    away = positions[:, oxygen] - positions[:, carbon]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    positions[400:, hydrogen] = (positions[:, oxygen] + 0.97 * away)[400:]
    return facts(dataclasses.replace(r, positions=positions), bond_changes=1)


@pytest.mark.parametrize(
    ("mine", "reference", "status"),
    [(1, 0, OPEN), (8, 0, MISS), (3, 3, PASS), (6, 4, OPEN), (0, 2, PASS)],
)
def test_an_atom_that_changes_hands(sound, mine, reference, status):
    """A rare event is compared as one: what a few runs have seen more often is open."""
    runs = planted(sound, IMPULSE, handed_over, range(mine))
    checks = judged(planted(runs, "reference", handed_over, range(reference)))
    check = checks["dynamics", IMPULSE, "intact bonds"]
    assert (check.status, check.value, check.limit) == (status, mine, reference)
    assert ("now O1-H2" in check.explanation) == (mine > 0)
    assert checks["honesty", IMPULSE, "broken bonds reported"].status == PASS


def test_doubled_evaluation_count(sound):
    checks = judged(
        planted(sound, IMPULSE, lambda r: facts(r, counted=2 * r.facts["counted"]), seeds=[5])
    )
    assert missed(checks) == {
        ("honesty", IMPULSE, "evaluations"), ("honesty", IMPULSE, "one evaluation each"),
    }  # fmt: skip


def test_a_second_evaluation_of_each_stride_that_is_reported(sound):
    def twice(r):
        return facts(r, **{name: 2 * r.facts[name] for name in ("counted", "evaluations")})

    checks = judged(planted(sound, IMPULSE, twice))
    assert missed(checks) == {("honesty", IMPULSE, "one evaluation each")}
    assert checks["dynamics", IMPULSE, "cost"].value == pytest.approx(0.5, rel=0.01)
    # Those of fallbacks are reported as such, and paid for.
    assert not missed(judged(planted(sound, IMPULSE, lambda r: facts(twice(r), fallbacks=3))))
    dear = judged(planted(sound, IMPULSE, lambda r: facts(twice(twice(r)), fallbacks=3)))
    assert missed(dear) == {("dynamics", IMPULSE, "cost")}


@pytest.mark.parametrize("method", ["reference", "langevin", IMPULSE, JUMPS])
def test_correlated_seeds(sound, method):
    runs = list(sound[method])
    runs[6] = runs[1]
    ensemble = method in ENSEMBLE
    checks = judged({**sound, method: runs}, ENSEMBLE if ensemble else DYNAMICS)
    promise = "references" if method in ("reference", "langevin") else "honesty"
    check = checks[promise, method, "independent seeds"]
    assert check.status == MISS
    assert "runs 1 and 6" in check.explanation


def test_energies_that_are_not_those_of_the_physics(sound):
    def lie(r):
        return facts(r, spot={**r.facts["spot"], "energy": [0.0, 0.01]})

    assert missed(judged(planted(sound, IMPULSE, lie))) == {("honesty", IMPULSE, "energies")}


def test_rare_large_errors_that_the_sample_has_not_met(sound):
    """Of one run the error is far larger, which four of its landings need not show."""
    runs = planted(sound, IMPULSE, lambda r: facts(r, energy_error=0.02), seeds=[3])
    checks = judged(runs)
    assert checks["honesty", IMPULSE, "predicted energies"].status == PASS
    assert checks["honesty", IMPULSE, "predicted energies"].value < 0.6


@pytest.mark.parametrize(
    ("fact", "what"), [("residual_rms", "residual"), ("energy_error", "predicted energies")]
)
def test_errors_reported_too_small(sound, fact, what):
    checks = judged(planted(sound, IMPULSE, lambda r: facts(r, **{fact: 0.3 * r.facts[fact]})))
    assert missed(checks) == {("honesty", IMPULSE, what)}


def test_a_wrong_ensemble(sound):
    def widen(r):
        centre = r.positions.mean(0)
        return dataclasses.replace(r, positions=centre + 1.1 * (r.positions - centre))

    checks = judged(planted(sound, JUMPS, widen), ENSEMBLE)
    assert checks["ensemble", JUMPS, "bonds"].status == MISS


def test_too_few_samples_leave_a_difference_open(sound):
    def stuck(r):
        # Hardly ever accepted: the start, again and again.
        moved = len(r) - 2
        index = np.where(np.arange(len(r)) < moved, 0, len(r) - 1)
        return dataclasses.replace(r, positions=r.positions[index], energies=r.energies[index])

    checks = judged(planted(sound, JUMPS, stuck), ENSEMBLE)
    # It did not sample anything wrong, but nothing much either.
    for kind in ("bonds", "angles", "dihedrals", "energy"):
        assert checks["ensemble", JUMPS, kind].status == OPEN
        assert "effective samples" in checks["ensemble", JUMPS, kind].explanation


def test_lost_runs_are_misses(sound):
    checks = judged(
        planted(sound, IMPULSE, lambda r: facts(r, error="100 fs: it flew apart"), seeds=[2])
    )
    assert checks["dynamics", IMPULSE, "complete"].status == MISS
    assert "flew apart" in checks["dynamics", IMPULSE, "complete"].explanation
    gone = planted(sound, "langevin", lambda r: facts(r, error="gone"), seeds=[0])
    lost = judged(gone, ENSEMBLE)
    assert lost["references", "langevin", "complete"].status == MISS
    assert lost["references", "langevin", "enough runs"].status == OPEN


@pytest.mark.parametrize("frames", [1, 2])
def test_runs_that_are_lost_at_once(sound, frames):
    def lost(r):
        cut = {n: getattr(r, n)[:frames] for n in ("time", "positions", "momenta", "energies")}
        return dataclasses.replace(facts(r, error="8 fs: it flew apart"), **cut)

    checks = judged(planted(planted(sound, IMPULSE, lost), BAR, lost, seeds=range(3)))
    assert checks["dynamics", IMPULSE, "complete"].value == 8
    assert checks["dynamics", IMPULSE, "trajectory"].status == MISS


def test_a_drift_is_caught(sound):
    def heating(r):
        ramp = 0.02 * np.arange(len(r)) / len(r)
        return dataclasses.replace(r, energies=r.energies + ramp)

    checks = judged(planted(sound, IMPULSE, heating))
    check = checks["dynamics", IMPULSE, "drift"]
    assert check.status == MISS
    # 20 meV over 1.4 ps and six atoms.
    assert check.value == pytest.approx(20.0 / 1.4 / 6.0, rel=0.1)


def test_a_drift_that_noise_could_hide_is_open(sound):
    def wandering(r):
        sign = 1.0 if r.energies[0] > np.median([s.energies[0] for s in sound[IMPULSE]]) else -1.0
        return dataclasses.replace(r, energies=r.energies + sign * 0.2 * np.arange(len(r)) / len(r))

    check = judged(planted(sound, IMPULSE, wandering))["dynamics", IMPULSE, "drift"]
    assert check.status == OPEN
    assert "would matter" in check.explanation


def test_a_run_no_better_than_the_bar_is_open_or_a_miss(sound):
    checks = judged({**sound, IMPULSE: sound[BAR]})
    assert checks["dynamics", IMPULSE, "trajectory"].status == OPEN
    checks = judged({**sound, IMPULSE: sound["verlet-4"]})
    assert checks["dynamics", IMPULSE, "trajectory"].status == MISS
    assert checks["dynamics", IMPULSE, "fluctuation"].status == MISS


def test_few_seeds_leave_everything_open(sound):
    few = {name: runs[:3] for name, runs in sound.items()}
    settings = dataclasses.replace(SETTINGS, seeds=3)
    kept = {name: few[name] for name in ("reference", "fine", BAR, "langevin", JUMPS)}
    metrics = molecule_metrics("methanol", kept, METHODS, settings)
    checks = check_molecule(metrics, BAR)
    statuses = {c.what: c.status for c in checks if c.method == JUMPS}
    assert statuses["bonds"] == OPEN
    assert {c.status for c in checks if c.what == "enough runs"} == {OPEN}


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [((PASS, MISS, OPEN), MISS), ((PASS, OPEN), OPEN), ((PASS, PASS), PASS), ((), OPEN)],
)
def test_overall(statuses, whole):
    assert overall([Check("dynamics", "m", "w", s, None, None, "") for s in statuses]) == whole
