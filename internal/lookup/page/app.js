// The page asks the API beside it and draws with DOM calls alone, so nothing that a
// cluster says is ever read as markup. All that the page shows can be had again from
// its address: q, by, the filters, the order and the Pod that is open.

const PAGE = 100; // rows
const TYPING = 120; // ms without a key before a search
const REFRESH = 1000; // ms between two refreshes by events, at least
const SILENCE = 12e3; // ms: a stream tells something every 5 s, or it is lost
const RECONNECT = 3000; // ms after a refused stream, which a browser does not try again
const OLD = 20; // s: while the API server answers, a view is some seconds old, and never more than 15

const KEYS = ["q", "by", "phase", "namespace", "node", "sort", "desc", "pod"];
const FILTERS = ["phase", "namespace", "node"];
const KINDS = {
  ip: "the IP", uid: "the UID", container: "the container ID", key: "namespace/name", name: "the name",
  node: "the node", hostip: "the node's IP", workload: "the workload", service: "a Service", image: "the image", label: "the label", namespace: "the namespace",
  text: "a part of a name, IP, UID, container ID, node or workload",
};

const $ = (id) => document.getElementById(id);
const order = new Intl.Collator("en", { numeric: true }).compare;
const number = new Intl.NumberFormat("en");
const pods = (n) => `${number.format(n)} ${n === 1 ? "Pod" : "Pods"}`;
const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

function element(tag, properties = {}, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in e) e[key] = value;
    else e.setAttribute(key, value);
  }
  e.append(...children);
  return e;
}

// ---- the state and its address ----

let state = fromAddress();
let tokens = [""]; // where each page up to the shown one begins
let typing = false; // the newest entry of the history is being typed
let pending; // the answer to the newest change

function fromAddress() {
  const params = new URLSearchParams(location.search);
  return Object.fromEntries(KEYS.map((key) => [key, params.get(key) ?? ""]));
}

const nothing = () => Object.fromEntries(KEYS.map((key) => [key, ""]));

function toAddress(push, opened = false) {
  const params = new URLSearchParams(KEYS.filter((key) => state[key]).map((key) => [key, state[key]]));
  history[push ? "pushState" : "replaceState"]({ opened }, "", params.size ? `?${params}` : location.pathname);
  title();
}

function title() {
  document.title = [state.pod || state.q, $("cluster")?.textContent, "PodInfoLookup"].filter(Boolean).join(" · ");
}

// A change of what is searched for; whatever is typed in one go is one step back.
function change(values, byKey = false) {
  Object.assign(state, values);
  toAddress(!(byKey && typing));
  typing = byKey;
  tokens = [""];
  controls();
  return pending = load();
}

function controls() {
  if ($("q").value.trim() !== state.q) $("q").value = state.q;
  for (const th of document.querySelectorAll("th[data-sort]")) {
    const chosen = th.dataset.sort === state.sort;
    th.setAttribute("aria-sort", chosen ? (state.desc ? "descending" : "ascending") : "none");
  }
  $("clear").hidden = !KEYS.some((key) => key !== "pod" && state[key]);
  if (summary) drawSummary();
}

// ---- asking ----

async function ask(path, params, signal) {
  const given = Object.entries(params).filter(([, value]) => value !== "");
  const response = await fetch(`v1/${path}?${new URLSearchParams(given)}`, {
    headers: { Accept: "application/json" }, signal,
  }).catch((error) => {
    throw error.name === "AbortError" ? error : new Error("No answer from the server");
  });
  if (response.ok) return response.json();
  let told = await response.text(); // a line, but of a handler before the API's not in JSON
  try {
    told = JSON.parse(told).error;
  } catch { /* it is the line */ }
  const status = { 401: "you are not signed in", 403: "you may not see this", 503: "no view of the cluster" };
  throw new Error([response.status, status[response.status], told.trim()].filter(Boolean).join(": "));
}

function problem(error) {
  if (error?.name === "AbortError") return;
  $("problem").hidden = !error;
  if (error) viewed = ""; // the next event asks again
  const text = error?.message ?? "";
  if ($("problem").textContent !== text) $("problem").textContent = text;
}

let asking; // aborts the search under way, so that no answer comes after a newer one
let shown = { items: [] };

async function load(live = false) {
  asking?.abort();
  const mine = asking = new AbortController();
  const { q, by, phase, namespace, node, sort, desc } = state;
  const params = { q, by: q && by, phase, namespace, node, sort, desc: sort && desc, limit: PAGE, continue: tokens.at(-1) };
  try {
    const answer = await ask("search", params, mine.signal);
    if (asking !== mine) return;
    asking = undefined;
    if (!answer.items.length && tokens.length > 1) { // the page has emptied meanwhile
      tokens.pop();
      return load(live);
    }
    shown = answer;
    problem();
    drawReading(answer);
    drawRows(answer, live);
    if (!live) $("say").textContent = answer.total ? `${pods(answer.total)} found` : "No Pod found";
  } catch (error) {
    if (asking === mine) asking = undefined;
    problem(error);
  }
}

// ---- what the search was read as ----

function drawReading(answer) {
  const parts = [];
  if (answer.q) {
    const none = answer.total ? "" : ": no Pod";
    if (answer.address) parts.push(element("strong", {}, `${answer.address.text}.`));
    parts.push(element("span", {}, `Read as ${KINDS[answer.readAs] ?? answer.readAs}${none}.`));
    if (answer.ambiguous) {
      parts.push(element("strong", { className: "ambiguous" }, `Ambiguous: ${pods(answer.total)} fit, see their notes.`));
    }
    const others = answer.readings.filter((r) => r.by !== answer.readAs);
    const offer = (by, text) => parts.push(element("button", { type: "button", value: by }, text));
    for (const r of others) offer(r.by, `Read as ${KINDS[r.by]}: ${pods(r.total)}`);
    if (state.by) offer("", "Read as what is likeliest");
    else if (answer.readAs !== "text") offer("text", "Read as a part");
  } else {
    parts.push(element("span", { className: "muted" }, "Type anything that you hold of a Pod."));
  }
  if (answer.restricted) {
    const rest = answer.unchecked ? ", and not all were checked: add namespace=NAME to the address" : "";
    parts.push(element("span", { className: "muted" }, `Only namespaces in which you may list pods${rest}.`));
  }
  const same = (a, b) => a.textContent === b.textContent && a.value === b.value;
  const old = [...$("reading").children];
  if (old.length !== parts.length || !parts.every((part, i) => same(part, old[i]))) $("reading").replaceChildren(...parts);
}

// ---- the rows ----

const rows = new Map(); // by the name of the Testcr, so that a row keeps its focus when it changes

function drawRows(answer, live) {
  const focused = document.activeElement?.closest?.("#rows tr");
  const at = focused ? [...$("rows").children].indexOf(focused) : -1;
  const names = new Set(answer.items.map((item) => item.testcr));
  for (const [name, row] of rows) {
    if (!names.has(name)) {
      row.tr.remove();
      rows.delete(name);
    }
  }
  let next = $("rows").firstElementChild;
  for (const item of answer.items) {
    const row = rows.get(item.testcr) ?? newRow(item, live);
    drawRow(row, item);
    if (row.tr === next) next = next.nextElementSibling;
    else $("rows").insertBefore(row.tr, next);
  }
  if (focused && !focused.contains(document.activeElement) && !$("detail").open) {
    const tr = focused.isConnected ? focused : $("rows").children[Math.min(at, rows.size - 1)];
    (tr?.querySelector("a") ?? $("q")).focus({ preventScroll: true });
  }
  const first = (tokens.length - 1) * PAGE;
  const range = first || answer.continue ? `${number.format(first + 1)}–${number.format(first + rows.size)} of ` : "";
  $("count").textContent = range + pods(answer.total);
  $("pages").hidden = !first && !answer.continue;
  $("previous").disabled = !first;
  $("next").disabled = !answer.continue;
  tick();
}

function newRow(item, live) {
  const link = element("a");
  const tr = element("tr", { role: "row", className: live ? "new" : "" }, element("td", { role: "cell" }, link));
  for (const label of ["IP", "Node", "Status", "Workload", "Age"]) {
    tr.append(element("td", { role: "cell", "data-label": label }));
  }
  const row = { tr, link };
  rows.set(item.testcr, row);
  return row;
}

function drawRow(row, item) {
  const text = JSON.stringify(item);
  if (row.text === text) return;
  row.text = text;
  row.tr.classList.toggle("ended", !item.live);
  row.tr.dataset.pod = item.podkey;
  row.link.href = `?${new URLSearchParams({ pod: item.podkey })}`;
  row.link.textContent = item.podkey;
  const [pod, ip, node, status, workload, age] = row.tr.children;
  row.link.nextSibling?.remove();
  if (item.note) pod.append(element("span", { className: "note" }, item.note));
  ip.replaceChildren(...(item.podips ?? []).map((text) => element("span", { className: "more" }, text)));
  node.textContent = item.nodename ?? "";
  status.textContent = statusOf(item);
  workload.textContent = workloadOf(item);
  age.replaceChildren(...(item.createdat ? [element("time", { dateTime: item.createdat, title: item.createdat, className: "age" })] : []));
}

// As kubectl get pods words it, with READY and RESTARTS where something is wrong.
function statusOf(item) {
  const [ready, all] = (item.readycontainers ?? "").split("/");
  const restarts = item.restarts > 0 && `${item.restarts} restart${item.restarts > 1 ? "s" : ""}`;
  return [item.status, item.phase === "Running" && ready !== all && `${ready} of ${all} ready`, restarts].filter(Boolean).join(", ");
}

const ownerOf = (kind, name) => (name ? `${(kind ?? "").toLowerCase()}/${name}` : "");
const workloadOf = (item) => ownerOf(item.workloadkind, item.workloadname);

// ---- ages, by the clock of the server ----

let ahead = 0; // ms that the server's clock is before this one's

// As kubectl has it, near enough.
function age(text) {
  const s = Math.max(0, Math.floor((Date.now() + ahead - Date.parse(text)) / 1000));
  const m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  if (s < 120) return `${s}s`;
  if (m < 10 && s % 60) return `${m}m${s % 60}s`;
  if (h < 3) return `${m}m`;
  if (h < 8 && m % 60) return `${h}h${m % 60}m`;
  if (d < 2) return `${h}h`;
  if (d < 8 && h % 24) return `${d}d${h % 24}h`;
  if (d < 730) return `${d}d`;
  return `${Math.floor(d / 365)}y`;
}

function tick() {
  for (const e of document.querySelectorAll("time.age")) {
    const text = age(e.dateTime);
    if (e.textContent !== text) e.textContent = text;
  }
}

// ---- counts and filters ----

let summary;

async function loadSummary() {
  try {
    summary = await ask("summary", {});
    drawSummary();
  } catch (error) {
    problem(error);
  }
}

function drawSummary() {
  const { phases, nodes, namespaces, otherNodes } = summary;
  fill("phase", phases);
  fill("namespace", namespaces);
  fill("node", nodes);
  bars("phase", phases, "no phase yet");
  bars("node", nodes, "no node yet");
  const { count, nodes: more } = otherNodes;
  $("others").textContent = more ? `and ${pods(count)} on ${number.format(more)} more ${more === 1 ? "node" : "nodes"}, which a search finds by name` : "";
}

function fill(key, counts) {
  const select = $(key);
  const list = counts.filter((c) => c.name).sort((a, b) => order(a.name, b.name));
  if (state[key] && !list.some((c) => c.name === state[key])) list.unshift({ name: state[key] });
  const texts = [["", "any"], ...list.map((c) => [c.name, c.count ? `${c.name} (${number.format(c.count)})` : c.name])];
  // A list that is open would close, and one that says the same would lose its place.
  if (JSON.stringify(texts) !== select.dataset.texts && document.activeElement !== select) {
    select.dataset.texts = JSON.stringify(texts);
    select.replaceChildren(...texts.map(([value, text]) => element("option", { value }, text)));
  }
  if (select.value !== state[key]) {
    if (![...select.options].some((o) => o.value === state[key])) select.append(element("option", { value: state[key] }, state[key]));
    select.value = state[key];
  }
}

function bars(key, counts, none) {
  const list = $(`${key}s`);
  const old = new Map([...list.children].map((li) => [li.dataset.name, li]));
  const most = Math.max(1, ...counts.map((c) => c.count));
  const focused = document.activeElement;
  const items = counts.map(({ name, count }) => {
    const li = old.get(name) ?? newBar(key, name, none);
    const button = li.firstElementChild;
    const [, track, text] = button.children;
    track.firstElementChild.style.width = `${(100 * count) / most}%`;
    text.textContent = number.format(count);
    if (name) button.setAttribute("aria-pressed", state[key] === name);
    return li;
  });
  if (items.length !== list.children.length || items.some((li, i) => li !== list.children[i])) {
    list.replaceChildren(...items);
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }
}

function newBar(key, name, none) {
  const button = element("button", { type: "button", disabled: !name, title: name || none },
    element("span", { className: "name" }, name || none),
    element("span", { className: "track" }, element("span", { className: "fill" })),
    element("span", { className: "count" }));
  button.onclick = () => change({ [key]: state[key] === name ? "" : name });
  return element("li", { "data-name": name }, button);
}

// ---- one Pod ----

let open; // the Pod in the dialog, as last heard, with its labels and containers

// Makes the dialog show what the address says.
async function showPod() {
  const dialog = $("detail");
  if (!state.pod) {
    if (dialog.open) dialog.close();
    return;
  }
  const known = shown.items.find((item) => item.podkey === state.pod);
  if (open?.podkey !== state.pod) {
    open = undefined;
    $("title").textContent = state.pod;
    $("gone").hidden = true;
    $("facts").replaceChildren();
    if (known) drawFacts(known, false); // a row has no labels and containers
  }
  if (!dialog.open) {
    $("copied").textContent = "";
    dialog.showModal();
  }
  await loadPod();
}

async function loadPod() {
  const key = state.pod;
  if (!key) return;
  try {
    // A search answers 200 where there is no such Pod, too, which no console reports.
    const { items } = await ask("search", { q: key, by: "key", limit: 1 });
    if (state.pod !== key) return;
    if (items.length) drawPod(items[0]);
    else gone();
  } catch (error) {
    problem(error);
    $("gone").textContent = error.message;
    $("gone").hidden = false;
  }
}

function gone() {
  const text = $("facts").hasChildNodes() ? "This Pod is gone; this is what was last known of it." : "There is no such Pod.";
  if ($("gone").textContent !== text) $("gone").textContent = text;
  $("gone").hidden = false;
}

function drawPod(p) {
  const note = p.note ? p.note[0].toUpperCase() + p.note.slice(1) + "." : "";
  if ($("gone").textContent !== note) $("gone").textContent = note;
  $("gone").hidden = !note;
  if (JSON.stringify(p) === JSON.stringify(open)) return;
  open = p;
  drawFacts(p, true);
}

function drawFacts(p, whole) {
  const focused = document.activeElement?.dataset?.copy;
  const yes = (value) => (value ? "yes" : "no");
  const none = element("p", {}, "none");
  $("facts").replaceChildren(
    element("dl", {},
      fact("Pod", [p.podkey]),
      fact("Name", [p.podname]),
      fact("Namespace", [p.namespace], { namespace: p.namespace }),
      fact("UID", [p.poduid]),
      ...(p.nodeuid ? [fact("UID on its node", [p.nodeuid])] : []),
      fact("Status", [p.status]),
      fact("Containers ready", [p.readycontainers]),
      fact("Restarts", [String(p.restarts ?? 0)]),
      fact("Phase", [p.phase]),
      fact("Ready", [yes(p.ready)]),
      fact("Terminating", [yes(p.terminating)]),
      fact("IP", [p.podip]),
      fact("All IPs", p.podips ?? [""]),
      ...(p.networkips ?? []).map((n) => fact(`IP in ${n.network || "another network"}`, [n.ip])),
      fact("Host network", [yes(p.hostnetwork)]),
      fact("Node", [p.nodename], { node: p.nodename }),
      fact("Node's IP", [p.hostip], { q: p.hostip, by: "hostip" }),
      ...(p.hostips ? [fact("All IPs of the node", p.hostips)] : []),
      fact("Workload", [workloadOf(p)], { q: workloadOf(p), by: "workload" }),
      fact("Owner", [ownerOf(p.ownerkind, p.ownername)]),
      fact("Service account", [p.serviceaccount]),
      ...(p.hostname ? [fact("Host name", [p.subdomain ? `${p.hostname}.${p.subdomain}.${p.namespace}.svc` : p.hostname])] : []),
      fact("Created", [p.createdat]),
      fact("Started", [p.startedat]),
      fact("Testcr", [p.testcr]),
      fact("Command", [`kubectl -n ${p.namespace} get pod ${p.podname} -o yaml`])),
    ...(whole ? [
      element("h3", {}, "Containers"),
      ...(p.containers?.flatMap(drawContainer) ?? [none]),
      element("h3", {}, "Labels"),
      p.labels ? element("dl", { className: "labels" }, ...Object.entries(p.labels).map(drawLabel)) : none.cloneNode(true),
    ] : []));
  if (focused) [...$("facts").querySelectorAll("button")].find((b) => b.dataset.copy === focused)?.focus();
}

function drawContainer(c) {
  const field = (label, value) => fact(label, [value], undefined, `${label} of container ${c.name}`);
  return [
    element("h4", {}, [c.name, c.kind && `(${c.kind})`].filter(Boolean).join(" ")),
    element("dl", {}, field("Name", c.name), field("Kind", c.kind || "regular"), field("Image", c.image), field("ID", c.id),
      ...(c.imageid ? [field("Image ID", c.imageid)] : []),
      ...(c.previousid ? [field("ID before its restart", c.previousid), field("Ended with", `${c.previousreason ?? ""} (${c.previousexitcode ?? 0})`.trim())] : [])),
  ];
}

const drawLabel = ([key, value]) => fact(key, [value], undefined, `label ${key}`, `${key}=${value}`);

// A field with a button for each value that copies it (or text), and one that
// searches for the like. name tells it from others that have its label.
function fact(label, values, like, name = label, text = "") {
  return element("div", {}, element("dt", {}, label), ...values.map((value, i) => {
    if (!value && !text) return element("dd", { className: "muted" }, "none");
    const button = element("button", { type: "button", "data-copy": `${name} ${i}` }, "Copy");
    button.setAttribute("aria-label", `Copy ${name}${values.length > 1 ? ` ${value}` : ""}`);
    button.onclick = () => copy(name, text || value);
    const dd = element("dd", {}, element("span", { className: "value" }, value), button);
    if (like) {
      const show = element("button", { type: "button" }, "Its Pods");
      show.setAttribute("aria-label", `Its Pods: all of ${name} ${value}`);
      show.onclick = () => {
        change({ ...nothing(), ...like });
        showPod();
        $("results").focus();
      };
      dd.append(show);
    }
    return dd;
  }));
}

async function copy(name, text) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no secure context, or not allowed
    done = false;
    const put = (event) => {
      event.clipboardData.setData("text/plain", text);
      event.preventDefault();
      done = true;
    };
    document.addEventListener("copy", put);
    document.execCommand("copy");
    document.removeEventListener("copy", put);
  }
  const told = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  $("copied").textContent = done ? `Copied ${name}: ${told}` : `The browser does not let ${name} be copied`;
}

// ---- live ----

let stream, heard = 0, changes = 0, viewed = "", lost = 0;
let refreshed = 0, waiting, again;

function connect() {
  stream?.close();
  stream = new EventSource("v1/events");
  heard = Date.now();
  changes = 0;
  stream.addEventListener("view", (event) => onView(JSON.parse(event.data)));
  stream.addEventListener("unready", (event) => {
    heard = Date.now();
    lost = 0;
    viewed = "";
    live("stale", `Not ready: ${JSON.parse(event.data).error}`);
  });
  stream.onerror = () => {
    disconnected();
    changes = 0;
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => document.hidden || connect(), RECONNECT);
  };
}

function onView(view) {
  heard = Date.now();
  lost = 0;
  const time = Date.parse(view.time);
  ahead = time - heard;
  const asOf = time - view.ageSeconds * 1000;
  const whole = [`resourceVersion ${view.resourceVersion || "none"}`, pods(view.pods)];
  $("asof").textContent = [`as of ${clock(asOf)}`, ...(view.restricted ? [] : whole)].join(" · ");
  writes(view);
  if (view.ageSeconds > OLD) live("stale", `The API server is silent since ${clock(asOf)}`);
  else live("live", "Live");
  const now = `${view.resourceVersion} ${view.pods}`;
  // A reconnected stream counts from 0: then the version tells.
  if (view.changes > changes || now !== viewed) refresh();
  changes = view.changes;
  viewed = now;
}

// Says that Testcrs are not kept, which the Pods on this page do not show.
function writes({ writesFailSince, writeError }) {
  const reason = writeError ? `: ${writeError}` : "";
  const text = writesFailSince ? `Writes fail since ${clock(Date.parse(writesFailSince))}, Testcrs may be out of date; this page is not${reason}` : "";
  $("writes").hidden = !text;
  if ($("writes").textContent !== text) $("writes").textContent = text;
}

function live(kind, text) {
  $("live").dataset.state = kind;
  if ($("live").textContent !== text) $("live").textContent = text;
}

function disconnected() {
  lost ||= Date.now();
  live("stale", `Disconnected since ${clock(lost)}, trying again`);
}

function refresh() {
  again = true;
  waiting ??= setTimeout(async () => {
    // What a search under way answers may be older than the event.
    again = Boolean(asking);
    await Promise.all([asking || load(true), loadSummary(), loadPod()]);
    refreshed = Date.now();
    waiting = undefined;
    if (again) refresh();
  }, Math.max(0, refreshed + REFRESH - Date.now()));
}

// ---- keys and clicks ----

function wire() {
  let timer;
  const typed = (soon) => {
    clearTimeout(timer);
    return new Promise((resolve) => {
      timer = setTimeout(() => {
        const q = $("q").value.trim();
        resolve(q === state.q ? undefined : change({ q, by: "" }, true));
      }, soon);
    });
  };
  $("q").oninput = () => typed(TYPING);
  $("search").onsubmit = async (event) => {
    event.preventDefault();
    await typed(0);
    await pending;
    $("rows").querySelector("a")?.focus();
  };
  for (const key of FILTERS) {
    $(key).onchange = () => change({ [key]: $(key).value });
    $(key).onblur = () => summary && drawSummary();
  }
  $("clear").onclick = () => {
    $("q").focus();
    change(nothing());
  };
  $("reading").onclick = (event) => {
    const button = event.target.closest("button");
    if (button) change({ by: button.value }).then(() => $("q").focus());
  };
  for (const th of document.querySelectorAll("th[data-sort]")) {
    th.firstElementChild.onclick = () => {
      // Ascending, descending, and back to the order that puts live Pods first.
      const again = state.sort === th.dataset.sort;
      change(again && state.desc ? { sort: "", desc: "" } : { sort: th.dataset.sort, desc: again ? "true" : "" });
    };
  }
  $("next").onclick = () => turn(() => tokens.push(shown.continue));
  $("previous").onclick = () => turn(() => tokens.pop());
  $("rows").onclick = openPod;
  $("close").onclick = () => $("detail").close();
  $("json").onclick = () => open && copy("all as JSON", JSON.stringify(open, null, 2));
  $("detail").onclick = (event) => event.target === $("detail") && $("detail").close(); // its backdrop
  $("detail").onclose = () => {
    if (!state.pod || $("detail").open) return; // the event comes late: it may be open again
    if (history.state?.opened) return history.back();
    state.pod = "";
    toAddress(false);
  };
  document.onkeydown = keys;
  window.onpopstate = () => {
    const was = state;
    state = fromAddress();
    typing = false;
    title();
    showPod();
    if (KEYS.every((key) => key === "pod" || state[key] === was[key])) return;
    tokens = [""];
    controls();
    load();
  };
  // A browser has few connections to one server: nobody looks, no stream.
  document.onvisibilitychange = () => (document.hidden ? stream.close() : connect());
}

async function turn(page) {
  page();
  await load();
  $("results").focus({ preventScroll: true });
  $("results").scrollIntoView();
}

function openPod(event) {
  const tr = event.target.closest("tr");
  if (!tr || event.ctrlKey || event.metaKey || event.shiftKey || !getSelection().isCollapsed) return;
  event.preventDefault();
  tr.querySelector("a").focus({ preventScroll: true }); // where the focus comes back to
  typing = false;
  state.pod = tr.dataset.pod;
  toAddress(true, true);
  showPod();
}

function keys(event) {
  const at = document.activeElement;
  if ($("detail").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !at.matches("input, select")) {
    event.preventDefault();
    $("q").focus();
    $("q").select();
    return;
  }
  const links = [...$("rows").querySelectorAll("a")];
  const i = links.indexOf(at);
  if (i < 0 && at !== $("q")) return;
  const to = { ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: links.length - 1 }[event.key];
  if (to === undefined || (i < 0 && event.key !== "ArrowDown")) return;
  event.preventDefault();
  (links[Math.min(to, links.length - 1)] ?? $("q")).focus();
}

wire();
title();
controls();
load();
loadSummary();
if (state.pod) showPod();
else {
  $("q").focus();
  $("q").setSelectionRange(state.q.length, state.q.length);
}
connect();
setInterval(() => {
  tick();
  if (stream.readyState === EventSource.OPEN && Date.now() - heard > SILENCE) {
    disconnected();
    connect();
  }
}, 1000);
