// Trees of plain objects, drawn by changing only what differs: focus, caret and scroll position stay.
// All text goes in as text. Nothing that a file or a server says is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";
/** milliseconds for which a control shows what its user just chose, while the kernel has not drawn it yet */
const TOUCHED = 600;
const PROPERTIES = new Set(["checked", "disabled", "hidden", "indeterminate", "multiple", "open", "readOnly", "selected"]);

/** An element: h("button", { class: "bk-button", onclick, key }, "text", child, [children]).
 *  `key` keeps an element across reordering; `ref(element)` is called once, when it is made. */
function h(tag, props, ...children) {
  const present = children.flat(Infinity).filter((child) => child != null && typeof child !== "boolean");
  return { tag, props: props ?? {}, children: present };
}

/** Make the children of `parent` be `nodes` (elements by `h`, or texts). */
function draw(parent, nodes) {
  const before = [...parent.childNodes];
  const keyed = new Map();
  for (const node of before) if (node.bkKey != null) keyed.set(node.bkKey, node);
  const loose = before.filter((node) => node.bkKey == null);
  const elements = nodes.map((node) => fitting(node, keyed, loose) ?? made(node, parent));
  const kept = new Set(elements);
  for (const node of before) if (!kept.has(node)) node.remove();
  arrange(parent, elements);
  elements.forEach((element, index) => update(element, nodes[index]));
}

/** Put `elements` in order. What holds the focus stays where it is and the others move: moved, it would lose it. */
function arrange(parent, elements) {
  const active = parent.getRootNode().activeElement;
  let at = parent.firstChild;
  for (const element of elements) {
    if (active && element !== at && element.contains(active)) {
      while (at !== element) {
        const next = at.nextSibling;
        parent.append(at);
        at = next;
      }
    }
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
  }
}

function fitting(node, keyed, loose) {
  if (typeof node === "object" && node.props.key != null) {
    const same = keyed.get(node.props.key);
    keyed.delete(node.props.key);
    return same?.bkTag === node.tag ? same : null;
  }
  const wanted = typeof node === "object" ? node.tag : "#text";
  const index = loose.findIndex((each) => (each.bkTag ?? each.nodeName) === wanted);
  // What lies before it is not wanted any more, or it would have been taken.
  return index < 0 ? null : loose.splice(0, index + 1)[index];
}

function made(node, parent) {
  if (typeof node !== "object") return document.createTextNode("");
  const inSvg = node.tag === "svg" || (parent.namespaceURI === SVG && parent.nodeName !== "foreignObject");
  const element = inSvg ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  element.bkTag = node.tag;
  if (node.props.key != null) element.bkKey = node.props.key;
  element.bkProps = {};
  element.bkOn = {};
  if (["input", "select", "textarea"].includes(node.tag)) {
    for (const type of ["input", "change"]) element.addEventListener(type, () => touch(element));
  }
  node.props.ref?.(element);
  return element;
}

function update(element, node) {
  if (typeof node !== "object") {
    if (element.data !== String(node)) element.data = String(node);
    return;
  }
  const { props } = node;
  for (const name of Object.keys(element.bkProps)) if (!(name in props)) set(element, name, null);
  for (const [name, value] of Object.entries(props)) if (name !== "value") set(element, name, value);
  // `own`: what is inside is drawn by somebody else
  if (!props.own) draw(element, node.children);
  // After its children: a select needs its options first.
  if ("value" in props) setValue(element, props.value);
  element.bkProps = props;
}

function set(element, name, value) {
  if (name === "key" || name === "ref" || name === "own" || name === "value") return;
  if (name.startsWith("on")) {
    listen(element, name.slice(2), value);
  } else if (PROPERTIES.has(name)) {
    if (element[name] !== Boolean(value) && !(name === "checked" && touched(element))) element[name] = Boolean(value);
  } else if (value == null || value === false) {
    element.removeAttribute(name);
  } else {
    const text = name === "href" ? safeAddress(value) : String(value === true ? "" : value);
    if (text == null) element.removeAttribute(name);
    else if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** An address a link may lead to; null for any other, such as javascript: */
function safeAddress(value) {
  try {
    const url = new URL(value, document.baseURI);
    return ["http:", "https:", "blob:"].includes(url.protocol) ? String(value) : null;
  } catch {
    return null;
  }
}

function listen(element, type, handler) {
  if (!(type in element.bkOn)) {
    element.addEventListener(type, (event) => element.bkOn[type]?.(event));
  }
  element.bkOn[type] = handler;
}

/** A radio button that is chosen changes the others of its group. */
function touch(element) {
  const now = performance.now();
  element.bkTouched = now;
  if (element.type !== "radio") return;
  for (const other of element.getRootNode().querySelectorAll("input[type=radio]")) if (other.name === element.name) other.bkTouched = now;
}

const touched = (element) => performance.now() - (element.bkTouched ?? -TOUCHED) < TOUCHED;

function setValue(element, value) {
  // What somebody is typing is not overwritten by what was known before.
  const typing = element === element.getRootNode().activeElement && element.tagName !== "SELECT";
  const text = value == null ? "" : String(value);
  if (!typing && !touched(element) && element.value !== text) element.value = text;
}
