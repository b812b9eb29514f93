package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Scrape returns the metrics at url by name, or by name and labels. The series
// of a name are added up. Missing metrics are left out.
func Scrape(ctx context.Context, url string, names ...string) (map[string]float64, error) {
	body, err := get(ctx, http.DefaultClient, url+"/metrics")
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(body))
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

// GetJSON decodes the response of a GET request.
func GetJSON(ctx context.Context, client *http.Client, url string, into any) error {
	body, err := get(ctx, client, url)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // only read
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body) // to the end, so that the connection is reused
}
