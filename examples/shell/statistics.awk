# Statistics of one station's lines "station time level", sorted by level: the median is in the middle, the highest at the end.
# Prints: station, readings, lowest, median, mean, highest, time of the highest.
{ level[NR] = $3; sum += $3 }
END {
    middle = int((NR + 1) / 2)
    median = (level[middle] + level[NR + 1 - middle]) / 2
    printf "%s %d %.2f %.3f %.3f %.2f %s\n", $1, NR, level[1], median, sum / NR, level[NR], $2
}
