// The page asks the API beside it and draws with DOM calls alone, so nothing that a
// cluster says is ever read as markup. All that the page shows can be had again from
// its address: q, by, the filters, the order, the page and the Pod that is open. What
// the server has drawn is replaced by the first answer.

const LIMIT = 100; // rows of a page
const TYPING = 120; // ms without a key before a search
const REFRESH = 1000; // ms between two refreshes by events, at least
const SILENCE = 9e3; // ms: a stream tells something every 5 s, or it is lost
const RECONNECT = 3000; // ms after a refused stream, which a browser does not try again
const OLD = 20; // s: while the API server answers, a view is some seconds old, and never more than 15

const KEYS = ["q", "by", "state", "phase", "namespace", "node", "sort", "desc", "page", "pod"];
const FILTERS = ["state", "namespace", "node"];
const PLACES = ["namespace", "node"]; // filters whose values are too many for a list
const LABELS = ["IP", "Node", "Status", "Workload", "Age"];
const KINDS = {
  ip: "the IP", uid: "the UID", container: "the container ID", key: "namespace/name", name: "the name",
  node: "the node", hostip: "the node's IP", workload: "the workload", service: "a Service", image: "the image", label: "the label", namespace: "the namespace",
  text: "a part of a name, IP, UID, container ID, node, workload, image, label or status",
};

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const several = (n, one) => `${number.format(n)} ${one}${n === 1 ? "" : "s"}`;
const pods = (n) => several(n, "Pod");
// One time zone for all times, that of the logs of a cluster. The other is on hover.
const clock = (ms) => `${new Date(ms).toISOString().slice(11, 19)} UTC`;
const stamp = (text) => text.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");
const local = (time) => new Date(time).toLocaleString("en-GB", { timeZoneName: "short" });
const wide = matchMedia("(min-width: 1200px)");

function element(tag, properties = {}, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in e && key !== "list") e[key] = value;
    else e.setAttribute(key, value);
  }
  e.append(...children);
  return e;
}

// Text that is broken between its parts alone: no name is cut, since its end tells Pods of one ReplicaSet apart.
const broken = (text) => text.split(/(?<=[-./:])|(?<=[a-z])(?=[A-Z])/).flatMap((part) => [part, element("wbr")]);

// A change of what is read out would be read out again each time.
function say(id, text, hover = "") {
  $(id).hidden = !text;
  $(id).title = hover;
  if ($(id).textContent !== text) $(id).textContent = text;
}

// ---- the state and its address ----

let state = fromAddress();
let typing = false; // the newest entry of the history is being typed
let pending; // the answer to the newest change

function fromAddress() {
  const params = new URLSearchParams(location.search);
  return Object.fromEntries(KEYS.map((key) => [key, params.get(key) ?? ""]));
}

const nothing = () => Object.fromEntries(KEYS.map((key) => [key, ""]));
const isFirstView = () => KEYS.every((key) => key === "pod" || key === "page" || !state[key]);

function addressOf(values) {
  const params = new URLSearchParams(KEYS.filter((key) => values[key]).map((key) => [key, values[key]]));
  return params.size ? `?${params}` : location.pathname;
}

function toAddress(push, opened = false) {
  history[push ? "pushState" : "replaceState"]({ opened }, "", addressOf(state));
  title();
}

function title() {
  document.title = [state.pod || state.q, $("cluster")?.textContent, "PodInfoLookup"].filter(Boolean).join(" · ");
}

// A change of what is searched for; whatever is typed in one go is one step back.
function change(values, byKey = false) {
  Object.assign(state, { page: "" }, values);
  toAddress(!(byKey && typing));
  typing = byKey;
  controls();
  return pending = load();
}

function controls() {
  if ($("q").value.trim() !== state.q) $("q").value = state.q;
  for (const key of FILTERS) {
    if ($(key).value === state[key]) continue;
    if (key === "state" && ![...$(key).options].some((o) => o.value === state[key])) $(key).append(element("option", {}, state[key]));
    $(key).value = state[key];
  }
  for (const th of document.querySelectorAll("th[data-sort]")) {
    const chosen = th.dataset.sort === state.sort;
    th.setAttribute("aria-sort", chosen ? (state.desc ? "descending" : "ascending") : "none");
  }
  $("clear").hidden = !KEYS.some((key) => key !== "pod" && state[key]);
  if (summary) drawSummary();
  freshen();
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
  failed = Boolean(error);
  if (error) viewed = ""; // the next event asks again
  say("problem", error?.message ?? "");
  freshen();
}

let asking; // aborts the search under way, so that no answer comes after a newer one
let shown = { items: [] };
let failed = false; // the newest search, or the stream, so that changes are not heard of

// What rows are for. The box comes first: it is ahead of the state while one types.
const searched = (q) => JSON.stringify([q, ...KEYS.filter((key) => key !== "q" && key !== "pod").map((key) => state[key])]);

// Says of what query and of when the rows are, unless that is what the page shows.
function freshen() {
  const old = shown.of !== undefined && (shown.of !== searched($("q").value.trim()) || failed);
  $("results").toggleAttribute("data-old", old);
  say("stale", old ? `These rows are for ${shown.q ? `“${shown.q}”` : "all Pods"}, ${clock(shown.at)}` : "", old ? local(shown.at) : "");
}

async function load(live = false) {
  asking?.abort();
  const mine = asking = new AbortController();
  const { q, by, phase, namespace, node, sort, desc, page } = state;
  const order = isFirstView() ? { sort: "attention" } : { sort, desc: sort && desc };
  const of = searched(q);
  freshen();
  try {
    const answer = await ask("search", { q, by: q && by, state: state.state, phase, namespace, node, ...order, limit: LIMIT, page }, mine.signal);
    if (asking !== mine) return;
    asking = undefined;
    if (!answer.items.length && page > 1) { // the page has emptied meanwhile
      state.page = page > 2 && answer.total ? String(Math.ceil(answer.total / LIMIT)) : "";
      toAddress(false);
      return load(live);
    }
    shown = Object.assign(answer, { of, at: Date.now() + ahead - answer.ageSeconds * 1000 });
    problem();
    drawReading(answer);
    drawRows(answer, live);
    drawExamples(answer);
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
    const last = answer.lastHolder;
    if (last || answer.pastNote) parts.push(element("strong", {}, `${last?.text ?? answer.pastNote}.`));
    if (last) parts.push(element("a", { href: `?${new URLSearchParams({ q: answer.q, at: last.from })}` }, "See it then"));
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
    if (isFirstView()) parts.push(element("span", { className: "muted" }, "Pods that are not well come first, then the newest."));
  }
  if (state.phase) parts.push(element("span", {}, `Only in the phase ${state.phase}.`));
  if (answer.restricted) {
    const rest = answer.unchecked ? ", and not all were checked: add namespace=NAME to the address" : "";
    parts.push(element("span", { className: "muted" }, `Only namespaces in which you may list pods${rest}.`));
  }
  const same = (a, b) => a.textContent === b.textContent && a.value === b.value;
  const old = [...$("reading").children];
  if (old.length !== parts.length || !parts.every((part, i) => same(part, old[i]))) $("reading").replaceChildren(...parts);
}

// Searches that find something, to show what can be asked.
function drawExamples({ items }) {
  $("examples").hidden = !isFirstView() || !items.length;
  if ($("examples").hidden) return;
  const item = items.find((i) => i.podip && i.workloadname) ?? items[0];
  const texts = [item.podip, item.podname, item.nodename, workloadOf(item), item.poduid.slice(0, 13)].filter(Boolean);
  if ($("examples").dataset.of === texts.join()) return;
  $("examples").dataset.of = texts.join();
  $("examples").replaceChildren(element("span", { className: "muted" }, "For example"),
    ...texts.map((text) => element("a", { href: addressOf({ q: text }) }, text)));
}

// ---- the rows ----

const rows = new Map(); // by the name of the Testcr, so that a row keeps its focus when it changes

function drawRows(answer, live) {
  const focused = document.activeElement?.closest?.("#rows tr");
  const at = focused ? [...$("rows").children].indexOf(focused) : -1;
  const names = new Set(answer.items.map((item) => item.testcr));
  for (const [name, row] of rows) {
    if (!names.has(name)) rows.delete(name);
  }
  const kept = new Set([...rows.values()].map((row) => row.tr));
  for (const tr of [...$("rows").children]) if (!kept.has(tr)) tr.remove();
  let next = $("rows").firstElementChild;
  for (const item of answer.items) {
    const row = rows.get(item.testcr) ?? newRow(item, live);
    drawRow(row, item);
    if (row.tr === next) next = next.nextElementSibling;
    else $("rows").insertBefore(row.tr, next);
  }
  if (focused && !focused.contains(document.activeElement) && !$("detail").matches(":modal")) {
    const tr = focused.isConnected ? focused : $("rows").children[Math.min(at, rows.size - 1)];
    (tr?.querySelector("a") ?? $("q")).focus({ preventScroll: true });
  }
  const page = Number(state.page) || 1;
  const first = (page - 1) * LIMIT;
  const range = first || answer.continue ? `${number.format(first + 1)}–${number.format(first + rows.size)} of ` : "";
  const cut = answer.continue && rows.size < LIMIT ? ", some of this page are left out because they are too large" : "";
  $("count").textContent = range + pods(answer.total) + cut;
  $("pages").hidden = !first && !answer.continue;
  $("previous").hidden = !first;
  $("next").hidden = !answer.continue;
  $("previous").href = addressOf({ ...state, pod: "", page: page > 2 ? page - 1 : "" });
  $("next").href = addressOf({ ...state, pod: "", page: page + 1 });
  mark();
  tick();
}

// Marks the row of the Pod that is open.
function mark() {
  for (const { tr } of rows.values()) {
    if (tr.dataset.pod === state.pod) tr.setAttribute("aria-current", "true");
    else tr.removeAttribute("aria-current");
  }
}

function newRow(item, live) {
  const link = element("a");
  const tr = element("tr", { role: "row", className: live ? "new" : "" }, element("td", { role: "cell" }, link));
  for (const label of LABELS) tr.append(element("td", { role: "cell", "data-label": label }));
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
  row.link.href = addressOf({ pod: item.podkey });
  row.link.replaceChildren(...broken(item.podname));
  const [pod, ip, node, status, workload, age] = row.tr.children;
  pod.replaceChildren(row.link, element("span", { className: "ns" }, ...broken(item.namespace)));
  if (item.note) pod.append(element("span", { className: "note" }, item.note));
  ip.replaceChildren(...(item.podips ?? []).map((text) => element("span", { className: "more", title: text }, text)));
  node.textContent = node.title = item.nodename ?? "";
  status.replaceChildren(stateElement(item), element("span", { className: "how" }, howOf(item)));
  workload.textContent = workload.title = workloadOf(item);
  age.replaceChildren(...(item.createdat ? [element("time", { dateTime: item.createdat, title: `${stamp(item.createdat)} · ${local(item.createdat)}`, className: "age" })] : []));
}

const stateElement = (item) => element("span", { className: "state", "data-state": item.state }, ...broken(item.status || "no status"));

// READY and RESTARTS of kubectl get pods, where something may be wrong.
function howOf(item) {
  const [ready, all] = (item.readycontainers ?? "").split("/");
  return [item.phase === "Running" && ready !== all && `${ready} of ${all} ready`, item.restarts > 0 && several(item.restarts, "restart")].filter(Boolean).join(", ");
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
let match = ""; // what is typed of a namespace or a node

async function loadSummary() {
  const asked = match;
  try {
    const answer = await ask("summary", { match: asked });
    if (asked !== match) return; // another is under way
    summary = answer;
    drawSummary();
  } catch (error) {
    problem(error);
  }
}

function drawSummary() {
  const { states, nodes, namespaces, nodeCount, namespaceCount } = summary;
  options("namespaces", namespaces);
  options("nodes", nodes);
  const none = state.state && !states.some(({ name }) => name === state.state);
  const old = new Map([...$("states").children].map((li) => [li.dataset.name, li]));
  const items = (none && state.state !== "unwell" ? [...states, { name: state.state, count: 0 }] : states).map(({ name, count }) => {
    const li = old.get(name) ?? newState(name);
    const link = li.firstElementChild;
    const chosen = state.state === name;
    link.href = addressOf({ ...state, pod: "", page: "", state: chosen ? "" : name });
    link.querySelector(".count").textContent = number.format(count);
    if (chosen) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    return li;
  });
  const children = $("states").children;
  if (items.length !== children.length || items.some((li, i) => li !== children[i])) $("states").replaceChildren(...items);
  $("places").textContent = `on ${several(nodeCount, "node")}, in ${several(namespaceCount, "namespace")}`;
}

function newState(name) {
  return element("li", { "data-name": name }, element("a", {},
    element("span", { className: "state", "data-state": name }, name), " ", element("span", { className: "count" })));
}

// Suggestions for what is typed: the server names those that contain it.
function options(id, counts) {
  const list = counts.filter((c) => c.name);
  const text = JSON.stringify(list);
  if ($(id).dataset.text === text) return;
  $(id).dataset.text = text;
  $(id).replaceChildren(...list.map((c) => element("option", { value: c.name, label: pods(c.count) })));
}

function wirePlace(key) {
  let timer;
  const apply = () => state[key] === $(key).value.trim() ? undefined : change({ [key]: $(key).value.trim() });
  $(key).oninput = () => {
    clearTimeout(timer);
    const text = $(key).value.trim();
    if (!text || [...$(key).list.options].some((o) => o.value === text)) apply(); // chosen
    timer = setTimeout(() => {
      match = text;
      loadSummary();
    }, TYPING);
  };
  $(key).onchange = apply;
  $(key).onblur = () => {
    if (!match) return;
    match = "";
    loadSummary();
  };
}

// ---- one Pod ----

let open; // the Pod in the detail, as last heard, with its labels and containers

// Makes the detail show what the address says: beside the rows where there is room.
async function showPod() {
  const dialog = $("detail");
  mark();
  if (!state.pod) {
    if (dialog.open) dialog.close();
    return;
  }
  const known = shown.items.find((item) => item.podkey === state.pod);
  if (open?.podkey !== state.pod) {
    open = undefined;
    const [namespace, name] = state.pod.split(/(?<=\/)/);
    $("title").replaceChildren(...[namespace, name].filter(Boolean).map((text) => element("span", {}, ...broken(text))));
    say("gone", "");
    $("facts").replaceChildren();
    if (known) drawFacts(known, false); // a row has no labels and containers
    dialog.scrollTop = 0;
  }
  if (!dialog.open) {
    if (wide.matches) dialog.show();
    else dialog.showModal();
  }
  $("title").focus({ preventScroll: wide.matches });
  hint();
  await loadPod();
}

const hint = () => $("copied").textContent = "Click a value to copy it.";

async function loadPod() {
  const key = state.pod;
  if (!key) return;
  try {
    // A search answers 200 where there is no such Pod, too, which no console reports.
    const { items } = await ask("search", { q: key, by: "key", limit: 1 });
    if (state.pod !== key) return;
    if (items.length) drawPod(items[0]);
    else say("gone", $("facts").hasChildNodes() ? "This Pod is gone; this is what was last known of it." : "There is no such Pod.");
  } catch (error) {
    problem(error);
    say("gone", error.message);
  }
}

// ---- who had an IP ----

let timeline = {}; // of which Pod and IP, and its section

async function drawTimeline(p) {
  const ip = p.podip;
  if (!$("at") || !ip) return;
  const of = `${ip} ${p.poduid}`;
  if (timeline.of === of) return $("facts").append(timeline.section);
  const section = element("section", { className: "timeline", "aria-label": `Who had ${ip}` }, element("h3", {}, `Who had ${ip}`));
  timeline = { of, section };
  $("facts").append(section);
  try {
    const { items, records, more } = await ask("pods", { ip, since: "520w", limit: 50 });
    const begin = Math.min(...items.map((i) => Date.parse(i.from)), ...records.map((r) => Date.parse(r.begins)));
    const end = Math.max(...records.map((r) => Date.parse(r.ends)));
    const scale = (t) => Math.max(0, Math.min(1000, 1000 * ((t ? Date.parse(t) : end) - begin) / Math.max(1, end - begin)));
    section.append(element("ol", {}, ...items.map((i) => {
      const until = i.to && (i.toLatest ?? i.to);
      return element("li", i.poduid === p.poduid ? { "aria-current": "true" } : {},
        element("a", { href: `?${new URLSearchParams({ q: i.poduid, by: "uid", at: i.from })}` }, ...broken(i.podkey)), " ",
        element("span", {}, `${span(i.fromEarliest, i.from)} to ${i.to ? span(i.to, until) : "now"}`),
        bar([scale(i.fromEarliest ?? i.from), scale(until), "may"], [scale(i.from), i.to === i.from ? scale(i.from) : scale(i.to), ""]));
    })), element("p", { className: "muted" }, [more && "and earlier ones; ", `recorded since ${records.map((r) => stamp(r.begins)).join(", ")}`,
      ...records.flatMap((r) => r.gaps ?? []).map((g) => `; not from ${stamp(g.from)} to ${stamp(g.to)}`).slice(-5)].filter(Boolean).join("")));
  } catch (error) {
    timeline = {};
    section.append(element("p", { className: "muted" }, error.message));
  }
}

const span = (a, b) => (a && a !== b ? `between ${stamp(a)} and ${stamp(b)}` : stamp(b));

function bar(...parts) {
  const svg = (tag, values, ...children) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const key in values) e.setAttribute(key, values[key]);
    e.append(...children);
    return e;
  };
  return svg("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...parts.map(([x, end, name]) => svg("rect", { x, width: name || end > x ? Math.max(4, end - x) : 0, height: 10, class: name })));
}

function drawPod(p) {
  say("gone", p.note ? `${p.note[0].toUpperCase()}${p.note.slice(1)}.` : "");
  if (JSON.stringify(p) === JSON.stringify(open)) return;
  open = p;
  drawFacts(p, true);
  drawTimeline(p);
}

// The state and the containers come first: they are what one has come for.
function drawFacts(p, whole) {
  const focused = document.activeElement?.dataset?.copy;
  const since = p.createdat ? element("time", { dateTime: p.createdat, title: local(p.createdat), className: "age" }) : "";
  const started = p.startedat && p.startedat !== p.createdat;
  $("facts").replaceChildren(
    element("p", {}, stateElement(p), [howOf(p), p.createdat && "age "].map((text) => text && `, ${text}`).join(""), since),
    ...(p.links ? [element("p", { className: "links" }, ...p.links.map((l) => element("a", { href: l.url, rel: "noreferrer" }, l.name)))] : []),
    ...(whole ? p.containers?.flatMap(drawContainer) ?? [] : []),
    element("h3", {}, "Pod"),
    element("dl", {},
      fact("IP", p.podips ?? [""]),
      ...(p.networkips ?? []).map((n) => fact(`IP in ${n.network || "another network"}`, [n.ip])),
      fact("Node", [p.nodename], { node: p.nodename }),
      fact("Node's IP", p.hostips ?? [p.hostip], { q: p.hostip, by: "hostip" }),
      fact("Workload", [workloadOf(p)], { q: workloadOf(p), by: "workload" }),
      ...(ownerOf(p.ownerkind, p.ownername) === workloadOf(p) ? [] : [fact("Owner", [ownerOf(p.ownerkind, p.ownername)])]),
      fact("Pod", [p.podkey]),
      fact("Name", [p.podname]),
      fact("Namespace", [p.namespace], { namespace: p.namespace }),
      fact("UID", [p.poduid]),
      ...(p.nodeuid ? [fact("UID on its node", [p.nodeuid])] : []),
      fact("Phase", [p.phase]),
      fact("Ready", [`${p.ready ? "yes" : "no"}${p.readycontainers ? `, ${p.readycontainers} containers` : ""}`]),
      ...(p.hostnetwork ? [fact("Host network", ["yes"])] : []),
      fact("Service account", [p.serviceaccount]),
      ...(p.hostname ? [fact("Host name", [p.subdomain ? `${p.hostname}.${p.subdomain}.${p.namespace}.svc` : p.hostname])] : []),
      ...(p.createdat ? [fact("Created", [stamp(p.createdat)], undefined, "Created", "", local(p.createdat))] : []),
      ...(started ? [fact("Started", [stamp(p.startedat)], undefined, "Started", "", local(p.startedat))] : []),
      fact("Testcr", [p.testcr])),
    ...(whole ? [
      element("h3", {}, "Go on with"),
      element("dl", {}, ...commands(p).map(([name, text]) => fact(name, [text], undefined, `Command ${name}`, "", "", "command"))),
      ...(p.labels ? [element("h3", {}, "Labels"), element("dl", { className: "labels" }, ...Object.entries(p.labels).map(drawLabel))] : []),
    ] : []));
  tick();
  if (focused) [...$("facts").querySelectorAll("button")].find((b) => b.dataset.copy === focused)?.focus();
}

function commands(p) {
  const kubectl = (verb, ...rest) => ["kubectl", "-n", p.namespace, verb, ...rest].join(" ");
  const ended = p.containers?.filter((c) => c.previousid) ?? [];
  return [
    ["Logs", kubectl("logs", p.podname, "--all-containers", "--tail=100")],
    ...ended.map((c) => [`Logs of ${c.name} before`, kubectl("logs", p.podname, "-c", c.name, "--previous")]),
    ["Describe", kubectl("describe", "pod", p.podname)],
    ...(p.live && p.containers?.length ? [["Shell", kubectl("exec", "-it", p.podname, "-c", p.containers[0].name, "-- sh")]] : []),
    ["YAML", kubectl("get", "pod", p.podname, "-o", "yaml")],
  ];
}

function drawContainer(c) {
  const field = (label, value) => fact(label, [value], undefined, `${label} of container ${c.name}`, "", "", "id");
  const ended = c.previousid && `${c.previousreason ?? ""} (${c.previousexitcode ?? 0})`.trim();
  return [
    element("h3", {}, `Container ${[c.name, c.kind && `(${c.kind})`].filter(Boolean).join(" ")}`),
    element("dl", {}, field("Image", c.image), field("ID", c.id), ...(ended ? [field("Last ended", ended), field("ID before", c.previousid)] : []),
      ...(c.imageid ? [field("Image ID", c.imageid)] : [])),
  ];
}

const drawLabel = ([key, value]) => fact(key, [value], undefined, `label ${key}`, `${key}=${value}`);

// A field whose values (or text) are copied when they are clicked, and a link that
// searches for the like. name tells it from others that have its label.
function fact(label, values, like, name = label, text = "", hover = "", className = "") {
  return element("div", { className }, element("dt", {}, label), ...values.map((value, i) => {
    if (!value && !text) return element("dd", { className: "muted" }, "none");
    const button = element("button", { type: "button", className: "value", "data-copy": `${name} ${i}`, title: hover }, ...broken(value));
    button.setAttribute("aria-label", `Copy ${name}: ${value}`);
    button.onclick = () => getSelection().isCollapsed && copy(name, text || value);
    const dd = element("dd", {}, button);
    if (like && !i) dd.append(element("a", { href: addressOf(like), "aria-label": `Its Pods: all of ${name} ${value}` }, "its Pods"));
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
  stream.onopen = () => viewed = ""; // what came meanwhile is not in the rows
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
  $("asof").title = local(asOf);
  writes(view);
  if (view.silentSince || view.ageSeconds > OLD) live("stale", `The API server is silent since ${clock(asOf)}`, local(asOf));
  else live("live", "Live");
  const now = `${view.resourceVersion} ${view.pods}`;
  // A reconnected stream counts from 0: then the version tells.
  if (view.changes > changes || now !== viewed) refresh();
  changes = view.changes;
  viewed = now;
}

// Says that Testcrs are not kept, which the Pods on this page do not show.
function writes({ writesFailSince, writeError }) {
  const since = Date.parse(writesFailSince);
  const reason = writeError ? `: ${writeError}` : "";
  const text = writesFailSince ? `Writes fail since ${clock(since)}, Testcrs may be out of date; this page is not${reason}` : "";
  say("writes", text, text && local(since));
}

function live(kind, text, hover = "") {
  $("live").dataset.state = kind;
  $("live").title = hover;
  if ($("live").textContent !== text) $("live").textContent = text;
}

function disconnected() {
  lost ||= Date.now();
  live("stale", `Disconnected since ${clock(lost + ahead)}, trying again`, local(lost + ahead));
  failed = true;
  freshen();
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
  $("q").oninput = () => {
    freshen();
    typed(TYPING);
  };
  $("search").onsubmit = async (event) => {
    if ($("at")?.value.trim()) return; // the server draws the past
    event.preventDefault();
    for (const key of PLACES) $(key).onchange();
    await typed(0);
    await pending;
    const link = $("rows").querySelector("a");
    if (shown.total === 1 && state.q && shown.of === searched(state.q)) openPod(link.closest("tr"));
    else link?.focus();
  };
  $("state").onchange = () => change({ state: $("state").value });
  PLACES.forEach(wirePlace);
  $("reading").onclick = (event) => {
    const button = event.target.closest("button");
    if (button) change({ by: button.value }).then(() => $("q").focus());
  };
  $("rows").onclick = (event) => {
    const tr = event.target.closest("tr");
    if (!tr || isElsewhere(event) || !getSelection().isCollapsed) return;
    event.preventDefault();
    openPod(tr);
  };
  $("json").onclick = () => open && copy("all as JSON", JSON.stringify(open, null, 2));
  $("detail").onclick = (event) => { // a handler that returned false would cancel the click
    if (event.target === $("detail") && $("detail").matches(":modal")) $("detail").close(); // its backdrop
  };
  $("detail").onclose = closed;
  $("json").hidden = false;
  $("detail").removeAttribute("open"); // which the server has opened
  document.onclick = follow;
  wide.onchange = () => {
    if (!$("detail").open) return;
    $("detail").close();
    showPod();
  };
  window.onpopstate = () => {
    const was = state;
    state = fromAddress();
    typing = false;
    title();
    if (state.pod !== was.pod || Boolean(state.pod) !== $("detail").open) showPod(); // not for the skip link
    if (KEYS.every((key) => key === "pod" || state[key] === was[key])) return;
    controls();
    load();
  };
  // A browser has few connections to one server: nobody looks, no stream.
  document.onvisibilitychange = () => (document.hidden ? stream.close() : connect());
  window.onpageshow = (event) => event.persisted && connect();
}

const isElsewhere = (event) => event.button || event.ctrlKey || event.metaKey || event.shiftKey;

// Follows the links of the page to itself, which work without JavaScript, too.
async function follow(event) {
  const link = event.target.closest("a");
  if (!link || isElsewhere(event) || event.defaultPrevented || link.closest(".links, .skip, #rows") || /[?&]at=/.test(link.search)) return;
  event.preventDefault();
  if (link.id === "close") return $("detail").close();
  const th = link.closest("th");
  if (th) {
    // Ascending, descending, and back to the order that puts live Pods first.
    const again = state.sort === th.dataset.sort;
    return change(again && state.desc ? { sort: "", desc: "" } : { sort: th.dataset.sort, desc: again ? "true" : "" });
  }
  const values = Object.fromEntries(new URLSearchParams(link.search));
  const from = link.id || (link.closest("#detail") ? "detail" : "");
  const loaded = change({ ...nothing(), ...values });
  if (!state.pod) showPod(); // closes what is beside the rows
  await loaded;
  if (from === "clear" || link.closest("h1, #examples")) $("q").focus();
  if (["detail", "next", "previous"].includes(from)) {
    $("results").focus({ preventScroll: true });
    $("results").scrollIntoView();
  }
}

function openPod(tr) {
  tr.querySelector("a").focus({ preventScroll: true }); // where the focus comes back to
  typing = false;
  // One step back closes it. Another Pod takes the place of the one that is open.
  const push = !state.pod;
  const opened = push || Boolean(history.state?.opened);
  state.pod = tr.dataset.pod;
  toAddress(push, opened);
  showPod();
}

function closed() {
  if (!state.pod || $("detail").open) return; // the event comes late: it may be open again
  const link = $("rows").querySelector("tr[aria-current] a");
  if (link && (document.activeElement === document.body || $("detail").contains(document.activeElement))) link.focus({ preventScroll: true });
  if (history.state?.opened) return history.back();
  state.pod = "";
  mark();
  toAddress(false);
}

function keys(event) {
  const at = document.activeElement;
  const detail = $("detail");
  if (detail.matches(":modal") || $("keys").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const takes = at.matches("input, select");
  const empty = at === $("q") && !at.value;
  if (event.key === "Escape" && detail.open && (!takes || empty)) return detail.close();
  if ((event.key === "/" || event.key === "?") && (!takes || empty)) {
    event.preventDefault();
    if (event.key === "?") return $("keys").showModal();
    $("q").focus();
    return $("q").select();
  }
  const links = [...$("rows").querySelectorAll("a")];
  let i = links.indexOf(at);
  if (i < 0 && !takes) i = links.findIndex((link) => link.closest("tr[aria-current]"));
  const to = { j: i + 1, k: i - 1, ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: links.length - 1 }[event.key];
  const isLetter = event.key === "j" || event.key === "k";
  const inRows = links.includes(at);
  if (to === undefined || (isLetter ? takes : !inRows && !(at === $("q") && event.key === "ArrowDown"))) return;
  event.preventDefault();
  (links[Math.min(to, links.length - 1)] ?? $("q")).focus();
}

// ---- dark and light ----

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
}

function wireTheme() {
  let theme = "system";
  try {
    theme = localStorage.getItem("theme") ?? theme;
  } catch { /* not allowed to store: it lasts as long as the page */ }
  setTheme(THEMES.includes(theme) ? theme : "system");
  $("theme").onclick = () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    setTheme(next);
    try {
      localStorage.setItem("theme", next);
    } catch { /* the same */ }
  };
}

// Draws what the server has drawn, and keeps it up to date.
function start() {
  wire();
  title();
  controls();
  load();
  loadSummary();
  if (state.pod) showPod();
  else {
    $("q").focus();
    $("q").setSelectionRange($("q").value.length, $("q").value.length);
  }
  connect();
  setInterval(() => {
    tick();
    if (stream.readyState === EventSource.OPEN && Date.now() - heard > SILENCE) {
      disconnected();
      connect();
    }
  }, 1000);
}

// The past does not change: the server has drawn all of it.
function rest() {
  const { address } = $("past").dataset;
  if (address) history.replaceState({}, "", address); // with absolute times
  $("detail").onclose = () => location.assign($("close").href);
}

wireTheme();
$("keysclose").onclick = () => $("keys").close();
$("help").onclick = () => $("keys").showModal();
for (const id of ["help", "theme"]) $(id).hidden = false;
document.onkeydown = keys;
($("past") ? rest : start)();
