"""O: what couples the momenta to a heat bath, half before and half after the rest of a step."""

from kstep_integrators.thermostats.base import NoThermostat, Thermostat
from kstep_integrators.thermostats.bussi import Bussi
from kstep_integrators.thermostats.langevin import Langevin
from kstep_integrators.thermostats.make import make_thermostat

__all__ = ["Bussi", "Langevin", "NoThermostat", "Thermostat", "make_thermostat"]
