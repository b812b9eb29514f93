package plot

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	width  = 18 * vg.Centimeter
	height = 8 * vg.Centimeter
)

// Colors of the palette of Okabe and Ito, for readers with color blindness.
var (
	blue   = color.RGBA{R: 0, G: 114, B: 178, A: 255}
	orange = color.RGBA{R: 213, G: 94, B: 0, A: 255}
	green  = color.RGBA{R: 0, G: 158, B: 115, A: 255}
	grey   = color.RGBA{R: 120, G: 120, B: 120, A: 255}
)

// programs starts with the slowest, because bars are drawn upward.
var programs = []string{
	harness.Article, harness.SampleController, harness.ControllerRuntime, harness.TunedControllerRuntime, harness.PodInfoLookup, harness.RawLoop,
}

func colorOf(program string) color.Color {
	switch program {
	case harness.PodInfoLookup:
		return blue
	case harness.RawLoop:
		return grey
	default:
		return orange
	}
}

// save draws plots one below the other.
func save(path string, plots ...*plot.Plot) error {
	canvas := vgsvg.New(width, height*vg.Length(len(plots)))
	dc := draw.New(canvas)
	dc.SetColor(color.White)
	dc.Fill(dc.Path())
	rows := make([][]*plot.Plot, len(plots))
	for i := range plots {
		rows[i] = []*plot.Plot{plots[i]}
	}
	tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadX: vg.Millimeter, PadTop: vg.Millimeter, PadBottom: vg.Millimeter, PadLeft: vg.Millimeter, PadRight: 4 * vg.Millimeter, PadY: 4 * vg.Millimeter}
	for i, row := range plot.Align(rows, tiles, dc) {
		plots[i].Draw(row[0]) //nolint:gosec // G602: there is a row for each plot
	}
	file, err := os.Create(path) //nolint:gosec // G304: the caller's to choose
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(file)
	return errors.Join(err, file.Close())
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Legend.Top, p.Legend.Left = true, true
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{Y: 225}, color.Gray{Y: 225}
	p.Add(grid)
	return p
}

// logarithmic gives an axis a logarithmic scale, with a mark at each tick.
func logarithmic(axis *plot.Axis, ticks []float64) {
	axis.Scale = plot.LogScale{}
	var marks []plot.Tick
	for _, t := range ticks {
		marks = append(marks, plot.Tick{Value: t, Label: fmt.Sprint(t)})
	}
	axis.Tick.Marker = plot.ConstantTicks(marks)
}

// addLine adds a line through points. Dashed lines are bounds.
func addLine(p *plot.Plot, name string, c color.Color, points plotter.XYs, dashed, dots bool) error {
	line, scatter, err := plotter.NewLinePoints(points)
	if err != nil {
		return err
	}
	line.Color, line.Width, scatter.Color = c, vg.Points(1.5), c
	scatter.Shape = draw.CircleGlyph{}
	if dashed {
		line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
	}
	p.Add(line)
	if dots {
		p.Add(scatter)
	}
	p.Legend.Add(name, line)
	return nil
}

// medians returns the median of f over the records of a program, by number of
// Pods. Records for which f returns 0 do not count.
func medians(records []syncRecord, program string, f func(*syncRecord) float64) plotter.XYs {
	found := map[int][]float64{}
	for i := range records {
		r := &records[i]
		if r.Program != program {
			continue
		}
		if x := f(r); x > 0 && !math.IsInf(x, 0) {
			found[r.Pods] = append(found[r.Pods], x)
		}
	}
	var points plotter.XYs
	for pods, x := range found {
		points = append(points, plotter.XY{X: float64(pods), Y: harness.Median(x)})
	}
	slices.SortFunc(points, func(a, b plotter.XY) int { return int(a.X - b.X) })
	return points
}

func rate(r *syncRecord) float64 {
	if r.Measure != "first sync" && r.Measure != "window" {
		return 0
	}
	return float64(r.Testcrs) / r.Seconds
}

// drawThroughput draws a bar for each program, at the number of Pods at which the
// peers were measured.
func drawThroughput(path string, records []syncRecord) error {
	at := 0.0
	for _, program := range programs[:4] {
		for _, point := range medians(records, program, rate) {
			at = max(at, point.X)
		}
	}
	p := newPlot(fmt.Sprintf("First sync of %.0f Pods", at), "Testcrs a second, median", "")
	var names []string
	for _, program := range programs {
		for _, point := range medians(records, program, rate) {
			if point.X != at {
				continue
			}
			bar, err := plotter.NewBarChart(plotter.Values{point.Y}, vg.Points(18))
			if err != nil {
				return err
			}
			bar.Horizontal, bar.Color, bar.XMin = true, colorOf(program), float64(len(names))
			bar.LineStyle.Width = 0
			p.Add(bar)
			names = append(names, fmt.Sprintf("%s %.0f      ", program, point.Y))
		}
	}
	if at == 0 {
		return errNothing
	}
	p.NominalY(names...)
	return save(path, p)
}

// drawGrowth draws throughput and processor time against the number of Pods.
func drawGrowth(path string, records []syncRecord) error {
	var ticks []float64
	for _, point := range medians(records, harness.PodInfoLookup, rate) {
		ticks = append(ticks, point.X)
	}
	if len(ticks) < 2 {
		return errNothing
	}
	rates := newPlot("First sync as the cluster grows", "Pods", "Testcrs a second")
	costs := newPlot("Processor time of a Testcr", "Pods", "ms")
	for _, l := range []struct {
		p       *plot.Plot
		name    string
		program string
		color   color.Color
		f       func(*syncRecord) float64
	}{
		{rates, harness.RawLoop, harness.RawLoop, grey, rate},
		{rates, harness.PodInfoLookup, harness.PodInfoLookup, blue, rate},
		{costs, harness.PodInfoLookup, harness.PodInfoLookup, blue, cpuOf(harness.PodInfoLookup)},
		{costs, "kube-apiserver, by podinfolookup", harness.PodInfoLookup, green, cpuOf("kube-apiserver")},
		{costs, "kube-apiserver, by the raw loop", harness.RawLoop, grey, cpuOf("kube-apiserver")},
	} {
		if err := addLine(l.p, l.name, l.color, medians(records, l.program, l.f), false, true); err != nil {
			return err
		}
	}
	for _, p := range []*plot.Plot{rates, costs} {
		p.Y.Min = 0
		p.Y.Max *= 1.4 // room for the legend
		logarithmic(&p.X, ticks)
	}
	return save(path, rates, costs)
}

func cpuOf(program string) func(*syncRecord) float64 {
	return func(r *syncRecord) float64 {
		if r.Measure != "first sync" {
			return 0
		}
		return r.CPU[program] / float64(r.Testcrs) * 1000
	}
}

// drawMemory draws resident memory against the number of Pods.
func drawMemory(path string, records []syncRecord) error {
	const mib = 1024
	steady := medians(records, harness.PodInfoLookup, func(r *syncRecord) float64 { return r.SteadyKiB / mib })
	if len(steady) < 2 {
		return errNothing
	}
	p := newPlot("Resident memory of podinfolookup", "Pods", "MiB")
	peak := func(measure string) plotter.XYs {
		return medians(records, harness.PodInfoLookup, func(r *syncRecord) float64 {
			if r.Measure != measure {
				return 0
			}
			return r.PeakRSSKiB / mib
		})
	}
	most := steady[len(steady)-1].X
	none := steady[0].Y
	for _, l := range []struct {
		name   string
		color  color.Color
		points plotter.XYs
		dashed bool
	}{
		{"steady", blue, steady, false},
		{"peak, first sync", orange, peak("first sync"), false},
		{"peak, restart", green, peak("restart"), false},
		{"3 KiB a Pod above none", grey, plotter.XYs{{X: 0, Y: none}, {X: most, Y: none + most*3/mib}}, true},
	} {
		if err := addLine(p, l.name, l.color, l.points, l.dashed, !l.dashed); err != nil {
			return err
		}
	}
	p.Y.Min = 0
	return save(path, p)
}

// drawLatency draws a curve for each program: the percentage of changes by lag,
// as the median of the rounds.
func drawLatency(path string, records []churnRecord) error {
	p := newPlot("Pod change seen to Testcr change seen, at an even rate of Pods", "ms", "% of the changes")
	some := false
	for _, l := range []struct {
		program string
		color   color.Color
	}{{harness.RawLoop, grey}, {harness.PodInfoLookup, blue}, {harness.TunedControllerRuntime, orange}} {
		var curves [][]float64
		for _, r := range records {
			if r.Measure == "churn" && r.Program == l.program {
				curves = append(curves, r.Lag["all"].Curve)
			}
		}
		if len(curves) == 0 {
			continue
		}
		var points plotter.XYs
		for i := range curves[0] {
			var at []float64
			for _, curve := range curves {
				at = append(at, curve[i])
			}
			points = append(points, plotter.XY{X: max(0.1, harness.Median(at)), Y: float64(i) / float64(len(curves[0])-1) * 100})
		}
		some = true
		if err := addLine(p, l.program, l.color, points, false, false); err != nil {
			return err
		}
	}
	if !some {
		return errNothing
	}
	p.Y.Min, p.Y.Max = 0, 100
	logarithmic(&p.X, []float64{0.1, 1, 10, 100, 1000, 10000})
	return save(path, p)
}

// drawBurst draws the numbers of Pods and Testcrs while many Pods change, and the
// age of the oldest change that no Testcr contains.
func drawBurst(path string, records []churnRecord, measure string) error {
	i := slices.IndexFunc(records, func(r churnRecord) bool { return r.Measure == measure })
	if i < 0 {
		return errNothing
	}
	counts := newPlot(measure, "s", "number")
	lags := newPlot("age of the oldest change of a Pod that its Testcr does not contain yet", "s", "ms")
	var pods, testcrs, depth, oldest plotter.XYs
	for _, s := range records[i].Samples {
		pods = append(pods, plotter.XY{X: s.At, Y: s.Pods})
		testcrs = append(testcrs, plotter.XY{X: s.At, Y: s.Testcrs})
		depth = append(depth, plotter.XY{X: s.At, Y: s.Depth})
		oldest = append(oldest, plotter.XY{X: s.At, Y: s.Oldest})
	}
	err := errors.Join(
		addLine(counts, "Pods", grey, pods, false, false), addLine(counts, "Testcrs", blue, testcrs, false, false),
		addLine(counts, "queue depth", orange, depth, false, false), addLine(lags, "lag", blue, oldest, false, false))
	if err != nil {
		return err
	}
	counts.Legend.Left, lags.Legend.Left = false, false
	counts.Y.Min, lags.Y.Min = 0, 0
	return save(path, counts, lags)
}

// drawSoak draws the resources and the lag of two replicas against time.
func drawSoak(path string, records []soakRecord) error {
	if len(records) < 2 {
		return errNothing
	}
	series := func(of func(soakRecord) float64) plotter.XYs {
		var points plotter.XYs
		for _, r := range records {
			points = append(points, plotter.XY{X: r.At / 60, Y: of(r)})
		}
		return points
	}
	memory := newPlot("Resident memory", "min", "MiB")
	counts := newPlot("Goroutines, open files, queue", "min", "number")
	lags := newPlot("Pod change seen to Testcr change seen, of each 10 s", "min", "ms")
	var errs []error
	for i, c := range []color.Color{blue, orange} {
		name := fmt.Sprintf("replica %d", i)
		errs = append(errs,
			addLine(memory, name, c, series(func(r soakRecord) float64 { return r.Replicas[i].MiB }), false, false),
			addLine(counts, name+", goroutines", c, series(func(r soakRecord) float64 { return r.Replicas[i].Goroutines }), false, false),
			addLine(counts, name+", open files", c, series(func(r soakRecord) float64 { return r.Replicas[i].Files }), true, false))
	}
	errs = append(errs,
		addLine(counts, "queue depth of both", green, series(func(r soakRecord) float64 { return r.Replicas[0].Depth + r.Replicas[1].Depth }), false, false),
		addLine(lags, "p50", blue, series(func(r soakRecord) float64 { return r.P50 }), false, false),
		addLine(lags, "p99", orange, series(func(r soakRecord) float64 { return r.P99 }), false, false))
	memory.Y.Min, counts.Y.Min, lags.Y.Min = 0, 0, 0
	memory.Y.Max *= 1.3 // room for the legend
	counts.Y.Max *= 1.8
	return errors.Join(errors.Join(errs...), save(path, memory, counts, lags))
}
