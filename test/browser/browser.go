// Package browser opens pages in Debian's Chromium and holds them to what every
// page of ours must be: no complaint on the console, no request elsewhere.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// Browser is a Chromium.
type Browser struct {
	ctx  context.Context // chromedp's handle
	stop func()
}

// Page is a tab in a window and with a storage of its own.
type Page struct {
	ctx    context.Context // chromedp's handle of the tab
	origin string

	mu         sync.Mutex
	complaints []string
}

// recordViolations runs before anything of the page: a violation that nobody
// listens to is only on the console.
const recordViolations = `window.violations = [];
addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective + " " + e.blockedURI + " " + e.sample));`

// Start starts a Chromium, which keeps what it has in dir. Stop ends it.
func Start(dir string) (*Browser, error) {
	binary, err := exec.LookPath("chromium")
	if err != nil {
		return nil, errors.New("there is no chromium: hack/chromium.sh installs Debian's")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(binary), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(width, height),
		chromedp.UserDataDir(dir), chromedp.Env("TZ=UTC", "LANG=C.UTF-8"), chromedp.WSURLReadTimeout(testenv.Patience))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	// chromedp reports messages that it has no type for. No test needs them.
	ctx, closeAll := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	b := &Browser{ctx: ctx, stop: func() {
		within, cancel := context.WithTimeout(ctx, testenv.StopWithin)
		defer cancel()
		_ = chromedp.Cancel(within) // what has not closed by then is killed
		closeAll()
		stop()
	}}
	if err := chromedp.Do(ctx); err != nil { // starts it, with the context that ends it
		b.Stop()
		return nil, err
	}
	return b, nil
}

// Stop ends the Chromium.
func (b *Browser) Stop() { b.stop() }

// The size of a window.
const width, height = 1280, 800

// Open opens url in a new tab. Only what has the same origin may be asked for. The
// tab is closed with the test.
func (b *Browser) Open(t *testing.T, url string) *Page {
	t.Helper()
	p := &Page{origin: originOf(url)}
	var closeTab context.CancelFunc
	p.ctx, closeTab = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.hear))
	t.Cleanup(closeTab)
	if err := chromedp.Do(p.ctx); err != nil { // with the context that closes it
		t.Fatal(err)
	}
	call(t, p, network.Enable, network.EnableParams{})
	call(t, p, log.Enable, cdp.Empty{})
	call(t, p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	call(t, p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: recordViolations})
	p.Resize(t, width, height, false)
	p.Go(t, url)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the page:\n%s\n%s", p.Eval(t, `document.body.innerText`), strings.Join(p.heard(), "\n"))
		}
	})
	return p
}

// call runs a command of the protocol.
func call[P, R any](t *testing.T, p *Page, command cdp.Command[P, R], params P) R {
	t.Helper()
	ctx, cancel := p.patient()
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (p *Page) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(p.ctx, testenv.Patience)
}

// Go opens another address.
func (p *Page) Go(t *testing.T, url string) {
	t.Helper()
	p.run(t, chromedp.Navigate(url))
}

func originOf(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host + "/"
}

func (p *Page) hear(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.complain("exception: %s", describe(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			p.complain("console.%s: %v", e.Type, e.Args)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.complain("log %s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, p.origin) {
			p.complain("request elsewhere: %s", url)
		}
	}
}

func describe(e *runtime.ExceptionDetails) string {
	if e.Exception != nil && e.Exception.Description != "" {
		return e.Exception.Description
	}
	return fmt.Sprintf("%s (%s:%d)", e.Text, e.URL, e.LineNumber+1)
}

func (p *Page) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, fmt.Sprintf(format, args...))
}

func (p *Page) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.complaints...)
}

// Clean fails the test if the page has complained of anything that does not
// contain one of the given texts, or has violated its content policy.
func (p *Page) Clean(t *testing.T, but ...string) {
	t.Helper()
	for _, complaint := range p.heard() {
		allowed := false
		for _, text := range but {
			allowed = allowed || strings.Contains(complaint, text)
		}
		if !allowed {
			t.Error(complaint)
		}
	}
	if violations := p.Eval(t, `violations.join("\n")`); violations != "" {
		t.Errorf("violations of the content policy:\n%s", violations)
	}
}

func (p *Page) run(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := p.patient()
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// Eval returns the value of a JavaScript expression as a string, a promise's as
// soon as it is kept.
func (p *Page) Eval(t *testing.T, expression string) string {
	t.Helper()
	value, err := p.eval(expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func (p *Page) eval(expression string) (string, error) {
	ctx, cancel := p.patient()
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](`(async () => String(await (`+expression+`)))()`, chromedp.EvalAwaitPromise))
}

// Until waits until a JavaScript expression is true.
func (p *Page) Until(t *testing.T, expression string) {
	t.Helper()
	p.UntilIs(t, `Boolean(`+expression+`)`, "true")
}

// UntilIs waits until a JavaScript expression has the value want.
func (p *Page) UntilIs(t *testing.T, expression, want string) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error {
		value, err := p.eval(expression) //nolint:contextcheck // the tab's outlives the test's
		if err != nil {
			return err
		}
		if value != want {
			return fmt.Errorf("%s is %q, want %q", expression, value, want)
		}
		return nil
	})
}

// Type replaces what the element of an id holds, key by key.
func (p *Page) Type(t *testing.T, id, text string) {
	t.Helper()
	p.Eval(t, `document.getElementById("`+id+`").select()`)
	p.Press(t, text)
}

// Press sends keys to whatever has the focus. Unlike chromedp's, a key that the
// page has taken for itself is not typed as well.
func (p *Page) Press(t *testing.T, keys string) {
	t.Helper()
	for _, r := range keys {
		events := kb.Encode(r)
		if len(events) == 3 { // down, the text, up
			events[0].Text, events[0].UnmodifiedText = events[1].Text, events[1].UnmodifiedText
			events = []*input.DispatchKeyEventParams{events[0], events[2]}
		}
		for _, event := range events {
			call(t, p, input.DispatchKeyEvent, *event)
		}
	}
}

// Click clicks on the first element of a selector.
func (p *Page) Click(t *testing.T, selector string) {
	t.Helper()
	p.run(t, chromedp.Click(chromedp.CSS(selector)))
}

// What a user may prefer.
const (
	Dark  = "dark"
	Light = "light"
)

// Prefer makes the user prefer a colour scheme, and no motion.
func (p *Page) Prefer(t *testing.T, scheme string) {
	t.Helper()
	call(t, p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// Zone makes the user live in a time zone.
func (p *Page) Zone(t *testing.T, zone string) {
	t.Helper()
	call(t, p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: zone})
}

// Resize makes the window as large as it is told, and that of a phone or not.
func (p *Page) Resize(t *testing.T, width, height int64, phone bool) {
	t.Helper()
	call(t, p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: phone,
	})
}

// Allow grants permissions, as a user would who is asked.
func (p *Page) Allow(t *testing.T, permissions ...string) {
	t.Helper()
	ctx, cancel := p.patient()
	defer cancel()
	for _, name := range permissions {
		params := cdpbrowser.SetPermissionParams{
			Permission: &cdpbrowser.PermissionDescriptor{Name: name}, Setting: cdpbrowser.PermissionSettingGranted, Origin: strings.TrimSuffix(p.origin, "/"),
			BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID,
		}
		if _, err := chromedp.CallBrowser(ctx, cdpbrowser.SetPermission, params); err != nil {
			t.Fatal(err)
		}
	}
}

// NoScript turns JavaScript off, but for the test's own.
func (p *Page) NoScript(t *testing.T) {
	t.Helper()
	call(t, p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// Bypass lets scripts of the test do on the page what its content policy forbids.
func (p *Page) Bypass(t *testing.T) {
	t.Helper()
	call(t, p, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
}

// Screenshot returns what the window shows as a PNG.
func (p *Page) Screenshot(t *testing.T) []byte {
	t.Helper()
	ctx, cancel := p.patient()
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	return png
}
