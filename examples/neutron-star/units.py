"""Physical constants and units. Owns numbers only: no module of this example repeats one.

Inside the stellar structure equations G = c = 1 and lengths are in km, so that masses are lengths (that of the Sun is
1.4766 km) and densities are in km^-2. Everything else is in g/cm^3, solar masses and km.

Sources: CODATA 2018 for G (c is exact); IAU 2015 resolution B3 for the nominal solar mass parameter G M_sun.
"""

GRAVITATIONAL_CONSTANT = 6.67430e-8  # cm^3 g^-1 s^-2
SPEED_OF_LIGHT = 2.99792458e10  # cm s^-1
SOLAR_MASS_PARAMETER = 1.3271244e26  # cm^3 s^-2; known to 10 digits, while G and M_sun apart are known to 4
CM_PER_KM = 1e5

SOLAR_MASS_KM = SOLAR_MASS_PARAMETER / SPEED_OF_LIGHT**2 / CM_PER_KM
DENSITY_KM = GRAVITATIONAL_CONSTANT / SPEED_OF_LIGHT**2 * CM_PER_KM**2  # km^-2 for 1 g/cm^3
