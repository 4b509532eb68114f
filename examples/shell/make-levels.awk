# Make data/levels.txt: water levels (m) of six river gauges over thirty days, as telemetry delivers them.
# Nothing here is measured: a slow swing, a flood, noise. Run: awk -f make-levels.awk > data/levels.txt

# Uniform in (0, 1): Park & Miller 1988, Commun. ACM 31, 1192. awk's own rand() differs from one awk to another.
function uniform() { state = (16807 * state) % 2147483647; return state / 2147483647 }

# Normal, mean 0 and standard deviation 1, as a sum of twelve uniforms.
function normal(    i, sum) { for (i = 0; i < 12; i++) sum += uniform(); return sum - 6 }

function level(station, hour,    day, since) {
    day = hour / 24
    since = day - 12 - station * 0.6  # the flood reaches each gauge later than the one before
    return 1.2 + 0.35 * station + 0.15 * sin(day / 3) + (since > 0 ? 2.8 * since * exp(-since / 1.7) : 0) + 0.03 * normal()
}

BEGIN {
    state = 1988
    split("alder birch cedar hazel linden rowan", names, " ")
    print "# Water levels of six gauges, simulated by make-levels.awk"
    print "# station  time (UTC)  level (m); - where the gauge did not answer"
    for (hour = 0; hour < 720; hour += 6)
        for (station = 1; station <= 6; station++) {
            line = sprintf("%s 2024-04-%02dT%02d:00Z", names[station], hour / 24 + 1, hour % 24)
            chance = uniform()
            reading = chance < 0.03 ? "-" : chance < 0.04 ? "99.99" : sprintf("%.2f", level(station, hour))
            print line, reading
            if (uniform() < 0.05) print line, reading  # sent twice
        }
}
