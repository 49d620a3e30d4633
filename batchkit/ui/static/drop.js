// A place to drop a file on, or to choose one with. Needs ui/drop.py on the other side.

/** bytes sent at a time: a server passes on 10 MiB at the most and says nothing of what it drops */
const CHUNK = 1_000_000;
/** seconds without an answer after which an upload is given up */
const UPLOAD_PATIENCE = 60;
/** milliseconds without progress after which another page's upload is taken for ended */
const UPLOAD_STALE = 10_000;

/** A drop zone. accept: the endings offered in the file dialog. disabled: takes nothing now. what: what is wanted, in words. */
function dropZone(view, { disabled = false, accept = ".csv,.tsv,.txt,text/csv", what = "a CSV file" } = {}) {
  const drop = (view.local.drop ??= { over: false, message: "", run: 0, mine: null, said: "" });
  const upload = view.snapshot.upload ?? {};
  const sending = drop.mine ? { ...drop.mine, own: true } : dropElsewhere(drop, upload);
  const problem = drop.message || (!sending && upload.state === "failed" ? upload.error : "");
  const take = (files) => dropTake(view, drop, files);
  return h("div", { key: "drop", class: "bk-drop" },
    h("div", {
      key: "zone", class: `bk-drop-zone${drop.over ? " bk-over" : ""}${disabled ? " bk-off" : ""}`,
      ref: dropKeepPage,
      ondragover: (event) => dropOver(view, drop, event, !disabled),
      ondragleave: (event) => event.currentTarget.contains(event.relatedTarget) || dropOver(view, drop, null, false),
      ondrop: (event) => {
        event.preventDefault();
        event.stopPropagation();
        dropOver(view, drop, null, false);
        if (!disabled) take(dropFiles(event.dataTransfer));
      },
    },
      h("input", {
        key: "input", type: "file", accept, hidden: true, "aria-label": `Choose ${what}`, ref: (element) => (drop.input = element),
        onchange: (event) => {
          const files = { files: [...event.target.files], folders: [] };
          // So that the same file can be chosen again.
          event.target.value = "";
          if (files.files.length) take(files);
        },
      }),
      h("svg", { key: "picture", class: "bk-drop-picture", viewBox: "0 0 24 24", width: 32, height: 32, "aria-hidden": "true" },
        h("path", { d: "M12 16V5m0 0L7.5 9.5M12 5l4.5 4.5M4 15v3a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-3", fill: "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round" })),
      h("p", { key: "words", class: "bk-drop-words" }, dropWords(drop, upload, sending, what)),
      h("button", {
        key: "browse", class: "bk-button", type: "button", disabled, "aria-describedby": problem ? view.id("drop-problem") : null,
        onclick: () => drop.input.click(),
      }, sending || upload.state === "done" ? "Choose another file" : `Choose ${what}`)),
    sending ? dropProgress(view, drop, sending) : null,
    problem ? h("p", { key: "problem", id: view.id("drop-problem"), class: "bk-error-text", role: "alert" }, problem) : null,
    h("div", { key: "said", class: "bk-sr", role: "status" }, drop.said));
}

function dropWords(drop, upload, sending, what) {
  if (drop.over) return "Let go to upload";
  const name = (text) => h("bdi", { class: "bk-drop-name", title: text }, text);
  if (sending) return ["Another file dropped here replaces ", name(sending.name), "."];
  if (upload.state === "done") return ["Drop another file here to replace ", name(upload.name), "."];
  if (upload.state === "cancelled") return ["The upload of ", name(upload.name), ` was cancelled. Drop ${what} here.`];
  if (upload.state === "failed") return ["The upload of ", name(upload.name), ` failed. Drop ${what} here.`];
  if (upload.state === "receiving") return ["The upload of ", name(upload.name), ` was interrupted: the page that sent it is gone. Drop ${what} here.`];
  return `Drop ${what} here`;
}

function dropProgress(view, drop, { id, own, name, size, received }) {
  const percent = size ? Math.floor((100 * received) / size) : 100;
  const words = received >= size ? "Received; being read" : `${fileSize(received)} of ${fileSize(size)} (${percent} %)`;
  return h("div", { key: "progress", class: "bk-drop-progress" },
    h("div", { class: "bk-row bk-spread" },
      h("span", { class: "bk-cut bk-drop-sending" }, own ? "Uploading " : "Another page is uploading ", h("bdi", { title: name }, name)),
      h("button", {
        class: "bk-button", type: "button", "aria-label": `Cancel the upload of ${name}`,
        onclick: () => (own ? dropStop(view, drop) : view.intend("upload_cancel", { upload: id })),
      }, "Cancel")),
    h("div", {
      class: "bk-bar", role: "progressbar", "aria-label": `Upload of ${name}`, "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-valuenow": percent, "aria-valuetext": words,
    }, h("span", { style: `width:${percent}%` })),
    h("span", { class: "bk-muted bk-drop-numbers" }, words));
}

/** An upload that another page of this kernel is sending; nothing if that page seems to be gone. */
function dropElsewhere(drop, upload) {
  if (upload.state !== "receiving") return null;
  const mark = `${upload.id} ${upload.received}`;
  if (drop.seen !== mark) {
    drop.seen = mark;
    drop.seenAt = Date.now();
  }
  return Date.now() - drop.seenAt < UPLOAD_STALE ? upload : null;
}

/** A file that misses the zone must not be opened in place of the page. */
function dropKeepPage(element) {
  const keep = (event) => {
    if (!element.isConnected && element.bkWasShown) {
      window.removeEventListener("dragover", keep);
      window.removeEventListener("drop", keep);
      return;
    }
    element.bkWasShown = true;
    if (event.defaultPrevented || ![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  };
  window.addEventListener("dragover", keep);
  window.addEventListener("drop", keep);
}

function dropOver(view, drop, event, over) {
  if (event) {
    event.preventDefault();
    event.dataTransfer.dropEffect = over ? "copy" : "none";
  }
  if (drop.over !== over) view.redraw();
  drop.over = over;
}

function dropFiles(transfer) {
  const entries = [...(transfer.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return { files: [...transfer.files], folders: entries.filter((entry) => entry.isDirectory).map((entry) => entry.name) };
}

function dropTake(view, drop, { files, folders }) {
  drop.message = "";
  if (folders.length) drop.message = `“${folders[0]}” is a folder. Drop a file.`;
  else if (files.length > 1) drop.message = `${number(files.length)} files were dropped, and one is taken at a time. Drop the one to use.`;
  else if (!files.length) drop.message = "What was dropped is no file.";
  else dropSend(view, drop, files[0]);
  view.redraw();
}

async function dropSend(view, drop, file) {
  drop.run += 1;
  const { run } = drop;
  const mine = { name: file.name || "file", size: file.size, received: 0, id: null };
  drop.mine = mine;
  dropSay(drop, `Uploading ${mine.name}`);
  const ask = (intent, details, buffers = []) => view.ask(intent, details, buffers, { quiet: true, seconds: UPLOAD_PATIENCE });
  try {
    mine.id = (await ask("upload_begin", { name: mine.name, size: mine.size })).upload;
    while (mine.received < mine.size && run === drop.run) {
      const chunk = await dropRead(file, mine.received);
      if (run !== drop.run) break;
      await ask("upload_chunk", { upload: mine.id, offset: mine.received }, [chunk]);
      mine.received += chunk.byteLength;
      dropSay(drop, `${Math.floor((4 * mine.received) / mine.size) * 25} % of ${mine.name} uploaded`);
      view.redraw();
    }
    // Cancelled before its id was known, or replaced by another file: that one's beginning ends this.
    if (run !== drop.run) {
      if (!drop.mine) view.intend("upload_cancel", { upload: mine.id });
      return;
    }
    await ask("upload_end", { upload: mine.id });
    if (run === drop.run) dropSay(drop, `${mine.name} was uploaded`);
  } catch (error) {
    if (run !== drop.run) return;
    drop.message = error.message;
    dropSay(drop, "");
    view.intend("upload_cancel", { upload: mine.id, error: error.message });
  }
  drop.mine = null;
  view.redraw();
}

async function dropRead(file, offset) {
  try {
    const chunk = await file.slice(offset, offset + CHUNK).arrayBuffer();
    if (chunk.byteLength) return chunk;
  } catch {
    // as if nothing came
  }
  throw new Error(`“${file.name}” could not be read. It was changed, moved or removed meanwhile, or is a folder. Choose it again.`);
}

function dropStop(view, drop) {
  const { id, name } = drop.mine;
  drop.run += 1;
  drop.mine = null;
  dropSay(drop, `The upload of ${name} was cancelled`);
  if (id) view.intend("upload_cancel", { upload: id });
  view.redraw();
}

function dropSay(drop, text) {
  drop.said = text;
}
