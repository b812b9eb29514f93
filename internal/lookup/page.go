package lookup

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"time"
)

//go:embed page
var pageFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFiles, "page/index.html"))

// contentPolicy lets the page load files of this server only. With trusted types a browser
// does not interpret text as markup or code, so that labels and images cannot inject any.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// assets are the content types of the files that the page loads.
var assets = map[string]string{
	"style.css": "text/css; charset=utf-8",
	"app.js":    "text/javascript; charset=utf-8",
	"icon.svg":  "image/svg+xml",
}

// pageData is the data of the template.
type pageData struct {
	Version, Cluster, Query string
	Address                 string // of the page, for readers without JavaScript
}

// pageHandler serves the page at / and its files under /assets/. Its addresses are
// relative, so that it works below a path of a proxy.
func pageHandler(config Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		var out bytes.Buffer
		data := pageData{
			Version: config.Version, Cluster: config.ClusterName, Query: r.URL.Query().Get("q"), Address: scheme + "://" + r.Host + "/",
		}
		if err := pageTemplate.Execute(&out, data); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		servePage(w, r, "text/html; charset=utf-8", out.Bytes())
	})
	for name, contentType := range assets {
		content, err := pageFiles.ReadFile(path.Join("page", name))
		if err != nil {
			panic(fmt.Sprintf("lookup: %v", err)) // it is not embedded
		}
		mux.HandleFunc("GET /assets/"+name, func(w http.ResponseWriter, r *http.Request) {
			servePage(w, r, contentType, content)
		})
	}
	return mux
}

// servePage sends content, or 304 if the browser has it. Browsers must revalidate each
// time, because an upgrade changes all files at once.
func servePage(w http.ResponseWriter, r *http.Request, contentType string, content []byte) {
	sum := sha256.Sum256(content)
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("Etag", `"`+hex.EncodeToString(sum[:16])+`"`)
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
