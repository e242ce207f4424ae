package bench

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// metrics are the figures of all rounds by their unit.
type metrics map[string][]float64

// add notes a figure of a round; what could not be measured is NaN and left out.
func (m metrics) add(unit string, value float64) {
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		m[unit] = append(m[unit], value)
	}
}

// compare notes a figure of both gateways and its ratio.
func (m metrics) compare(unit, ratio string, front, proxy float64) {
	m.add("front-"+unit, front)
	m.add("proxy-"+unit, proxy)
	m.add(ratio, front/proxy)
}

// report reports the medians. Nanoseconds an operation would mean nothing.
func (m metrics) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	for _, unit := range slices.Sorted(maps.Keys(m)) {
		b.ReportMetric(median(m[unit]), unit)
	}
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}

// p99 is in milliseconds; NaN of nothing.
func p99(ages []time.Duration) float64 {
	if len(ages) == 0 {
		return math.NaN()
	}
	slices.Sort(ages)
	return ages[len(ages)*99/100].Seconds() * 1e3
}

// clockTick is in which Linux counts processor time for user space, whatever the kernel's own.
const clockTick = 10 * time.Millisecond

// cpuOf is the processor time of a process so far, in seconds; NaN where that cannot be read.
func cpuOf(pid int) float64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return math.NaN()
	}
	// The name, in brackets, may hold anything. After it come the state and, as the twelfth
	// and thirteenth, time in user and in kernel mode.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return math.NaN()
	}
	user, userErr := strconv.Atoi(fields[11])
	kernel, kernelErr := strconv.Atoi(fields[12])
	if userErr != nil || kernelErr != nil {
		return math.NaN()
	}
	return (time.Duration(user+kernel) * clockTick).Seconds()
}

// memoryOf reads a line of a process's status, such as VmRSS, in KiB; NaN where that cannot
// be read.
func memoryOf(pid int, name string) float64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return math.NaN()
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	var size float64
	if _, err := fmt.Sscan(rest, &size); err != nil {
		return math.NaN()
	}
	return size
}
