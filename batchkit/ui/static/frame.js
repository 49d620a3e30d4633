// What every view does: draw the snapshot and the messages above it, and carry intents to the kernel and answers back.

/** milliseconds after which an intent that is not answered makes the view ask whether anybody is there */
const DOUBT = 3000;
/** milliseconds after which nobody seems to be there */
const SILENCE = 3000;
/** milliseconds between two signs that the page is displayed */
const SIGN = 4000;
let shown = 0;
/** What is drawn; the script is loaded once for each model. */
let drawn = null;

/** What there is to draw; null: nothing is known yet. It is taken out of the model, so that a notebook saved with the
 *  state of its widgets does not hold the rows of a file. */
function takeDrawn(model) {
  const given = model.get("snapshot");
  if (given && Object.keys(given).length) {
    drawn = given;
    // Silent: nobody has changed anything, and nothing goes back.
    model.set("snapshot", {}, { silent: true });
  }
  return drawn;
}

/** Show a view in `el`. `content(view)` returns its elements, from `view.snapshot` and what it keeps in `view.local`.
 *  Returns what ends it. */
function show(model, el, content) {
  const waiting = new Map();
  let drawing = 0;
  let asked = 0;
  let greetedAt = 0;
  let ended = false;
  shown += 1;
  const place = `bk${shown}-${Math.random().toString(36).slice(2, 8)}`;

  const view = {
    model,
    el,
    /** of this place in the page alone: open menus, filters, what is typed */
    local: {},
    get snapshot() {
      return takeDrawn(model);
    },
    /** An id of the page, for labels and descriptions: a view may be shown twice. */
    id: (name) => `${place}-${name}`,
    /** Tell the kernel what the user wants. */
    intend(intent, details = {}, buffers = []) {
      view.ask(intent, details, buffers, { value: false });
    },
    /** The same, and promise the answer. Rejects with the error's text, which the page shows already unless `quiet`;
     *  also when there is no answer within `seconds`, if given. Without `value`, only that it is done. */
    ask(intent, details = {}, buffers = [], { quiet = false, seconds = 0, value = true } = {}) {
      asked += 1;
      const ask = `${place}-${asked}`;
      const answer = new Promise((resolve, reject) => {
        const timer = seconds && setTimeout(() => {
          waiting.delete(ask);
          reject(new Error("The kernel does not answer. It may be busy, or was restarted: then run the cell again, or reload a page without cells."));
        }, seconds * 1000);
        waiting.set(ask, { resolve, reject, timer, at: Date.now() });
        model.send({ intent, details, ask, quiet, value }, undefined, buffers);
      });
      // Who does not ask for the failure has seen it in the page.
      answer.catch(() => {});
      return answer;
    },
    /** Draw again, soon. */
    redraw() {
      if (drawing || ended) return;
      drawing = requestAnimationFrame(() => {
        drawing = 0;
        redrawNow();
      });
    },
    /** Ask before what cannot be undone: { title, text: line or lines, action, danger?, back?, off?, go }.
     *  Calls `go` if confirmed. text, action and off may be functions of no argument; a line may be an element. */
    confirm(question) {
      asked += 1;
      view.local.question = { ...question, key: `question-${asked}` };
      view.redraw();
    },
  };

  const root = document.createElement("div");
  root.className = "bk-root";
  // JupyterLab would take Enter, arrows and letters for its own shortcuts: M in a list would make its cell Markdown. It
  // looks at what has the focus first, and only then at what is around it.
  root.addEventListener("focusin", (event) => (event.target.dataset.lmSuppressShortcuts = "true"));
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("keydown", submitByEnter);
  el.append(root);

  function redrawNow() {
    const { activeElement } = root.getRootNode();
    const around = [];
    if (root.contains(activeElement)) for (let each = activeElement; each !== root.parentNode; each = each.parentNode) around.push(each);
    draw(root, [
      h("div", { key: "notices", class: "bk-notices", role: "status", "aria-live": "polite" },
        view.local.silent ? silence() : null,
        model.get("notices").map((notice) => noticeOf(view, notice))),
      ...(view.snapshot ? content(view) : [h("p", { key: "nothing" }, "This is shown by its kernel: run the cell.")]),
      view.local.question ? dialogOf(view) : null,
    ].flat(Infinity).filter((child) => child != null && typeof child !== "boolean"));
    if (around.length && !around[0].isConnected) focusNear(around.find((each) => each.isConnected));
  }

  function receive(message) {
    if (!message || !waiting.has(message.answer)) return;
    const { resolve, reject, timer } = waiting.get(message.answer);
    waiting.delete(message.answer);
    clearTimeout(timer);
    if (view.local.silent) {
      view.local.silent = false;
      view.redraw();
    }
    if ("error" in message) reject(new Error(message.error));
    else resolve(message.value);
  }

  /** Ask whether anybody is there. Nobody is behind a notebook that was opened again, or a kernel that was restarted. */
  function greet() {
    greetedAt = Date.now();
    view.ask("hello").then(() => (greetedAt = 0));
  }

  /** Notice when nobody answers. A greeting is answered at once, whatever else is under way. */
  function checkAnswers() {
    const now = Date.now();
    if (greetedAt) view.local.silent ||= now - greetedAt > SILENCE;
    else if ([...waiting.values()].some(({ at }) => now - at > DOUBT)) greet();
  }

  const redraw = () => view.redraw();
  const take = () => {
    takeDrawn(model);
    redraw();
  };
  model.on("change:snapshot", take);
  model.on("change:notices", redraw);
  model.on("msg:custom", receive);
  // Times such as "3 minutes ago" go on, and what was typed is drawn as it was understood.
  const clock = setInterval(() => {
    checkAnswers();
    redraw();
  }, 1000);
  root.addEventListener("focusout", redraw);
  redrawNow();

  greet();
  if (!drawn) view.intend("draw");

  return () => {
    ended = true;
    clearInterval(clock);
    for (const { timer } of waiting.values()) clearTimeout(timer);
    cancelAnimationFrame(drawing);
    model.off("change:snapshot", take);
    model.off("change:notices", redraw);
    model.off("msg:custom", receive);
    root.remove();
  };
}

/** Let the kernel know that somebody looks; it reads the store only then. */
function sayDisplayed(view) {
  if (document.hidden || Date.now() - (view.local.signAt ?? 0) < SIGN) return;
  view.local.signAt = Date.now();
  view.intend("seen");
}

/** Enter in a field sends its form. Said outright, for JupyterLab's notebook prevents that a field hears of it. */
function submitByEnter(event) {
  const { target } = event;
  if (event.key !== "Enter" || event.isComposing || event.defaultPrevented || target.tagName !== "INPUT" || !target.form) return;
  event.preventDefault();
  target.form.requestSubmit();
}

/** What had the focus is gone: go on where it was, not at the top of the page. */
function focusNear(element) {
  if (!element) return;
  if (!element.hasAttribute("tabindex")) element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

const NOTICE_WORDS = { error: "Error", warning: "Warning", info: "Note", success: "Done" };

function noticeOf(view, notice) {
  return h("div", { key: `notice-${notice.id}`, class: `bk-notice bk-${notice.kind}` },
    h("strong", null, `${NOTICE_WORDS[notice.kind]}:`),
    h("span", { class: "bk-notice-text" }, notice.text),
    h("button", {
      class: "bk-icon-button", type: "button", "aria-label": "Dismiss this message", title: "Dismiss",
      onclick: () => view.intend("dismiss", { id: notice.id }),
    }, "×"));
}

function silence() {
  return h("div", { key: "silence", class: "bk-notice bk-warning" },
    h("strong", null, "Warning:"),
    h("span", { class: "bk-notice-text" },
      "The kernel does not answer. If it is busy with a cell, what you asked for is done when that ends. If it was restarted, or the notebook opened again, run this cell again; where there are no cells, reload the page."));
}

function dialogOf(view) {
  const { title, text, action, danger, off, go, back = "Back", key } = view.local.question;
  const now = (value) => (typeof value === "function" ? value() : value);
  const gone = () => {
    if (view.local.question?.key === key) view.local.question = null;
    view.redraw();
  };
  // Closed as a dialog, so that the focus goes back to where it was.
  const close = (event) => event.target.closest("dialog").close();
  return h("dialog", {
    key, class: "bk-dialog", "aria-labelledby": view.id("question-title"), "aria-describedby": view.id("question-text"), onclose: gone,
    ref: (element) => queueMicrotask(() => element.isConnected && !element.open && element.showModal()),
  },
    h("h3", { id: view.id("question-title") }, title),
    h("div", { id: view.id("question-text") }, [now(text)].flat().map((line) => (typeof line === "string" ? h("p", null, line) : line))),
    h("div", { class: "bk-buttons bk-dialog-buttons" },
      h("button", { class: "bk-button", type: "button", autofocus: true, onclick: close }, back),
      h("button", {
        class: `bk-button ${danger ? "bk-danger" : "bk-primary"}`, type: "button", "aria-disabled": now(off) ? "true" : "false",
        onclick: (event) => {
          if (now(off)) return;
          close(event);
          go();
        },
      }, now(action))));
}
