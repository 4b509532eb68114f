"""Published numbers: the fitted parameters of each equation of state, and the maximum masses to compare with.

Parameters: Read, Lackey, Owen & Friedman 2009, Phys. Rev. D 79, 124032 (arXiv:0812.2163), Tables II and III. Owns no
calculation.
"""

# Table II: the four pieces of the SLy crust, from the surface inwards. K is such that p/c^2 = K rho^Gamma, in g/cm^3.
SLY_CRUST = (  # (K, Gamma)
    (6.80110e-9, 1.58425),
    (1.06186e-6, 1.28733),
    (5.32697e1, 0.62223),
    (3.99874e-8, 1.35692),
)

# Table III: log10 of the pressure (dyn/cm^2) at 10^14.7 g/cm^3; the adiabatic indices up to there, up to 10^15, and above.
CORE = {
    "WFF1": (34.031, (2.519, 3.791, 3.660)),
    "APR4": (34.269, (2.830, 3.445, 3.348)),
    "SLy": (34.384, (3.005, 2.988, 2.851)),
    "ENG": (34.437, (3.514, 3.130, 3.168)),
    "MPA1": (34.495, (3.446, 3.572, 2.887)),
    "H4": (34.669, (2.909, 2.246, 2.144)),
    "MS1": (34.858, (3.224, 3.033, 1.325)),
}

# Maximum masses (solar masses) of the equations of state that the parameters above were fitted to: Read et al., Table III,
# but for APR4 the value of its authors (Akmal, Pandharipande & Ravenhall 1998, Phys. Rev. C 58, 1804). Read et al. find
# 2.213 for their table of APR4; the fit to it is a percent short of that.
MAXIMUM_MASS = {
    "WFF1": 2.13,
    "APR4": 2.20,
    "SLy": 2.05,
    "ENG": 2.24,
    "MPA1": 2.46,
    "H4": 2.03,
    "MS1": 2.77,
}
