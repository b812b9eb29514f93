package harness

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Scrape reads metrics at url by the beginning of their lines, with labels
// where they are given; those of one name add up. What is not there is left out.
func Scrape(ctx context.Context, url string, names ...string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // only read
	found := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		series, value, ok := strings.Cut(lines.Text(), " ")
		name, _, _ := strings.Cut(series, "{")
		if !ok || !slices.Contains(names, name) && !slices.Contains(names, series) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
		if slices.Contains(names, series) {
			name = series
		}
		found[name] += n
	}
	return found, lines.Err()
}
