"""O: heat baths, which act on the momenta half before and half after the rest of a step."""

from kstep_integrators.thermostats.base import NoThermostat, Thermostat, bath_kelvin
from kstep_integrators.thermostats.bussi import Bussi
from kstep_integrators.thermostats.langevin import Langevin
from kstep_integrators.thermostats.make import make_thermostat

__all__ = [
    "Bussi",
    "Langevin",
    "NoThermostat",
    "Thermostat",
    "bath_kelvin",
    "make_thermostat",
]
