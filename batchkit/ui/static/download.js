// Files that come piece by piece from the kernel and are put together in the browser. Needs ui/downloads.py.

/** Fetch what is ready for this place in the page, and hand it to the browser as a file. */
function fetchDownloads(view) {
  const fetched = (view.local.fetched ??= new Set());
  for (const download of view.snapshot.downloads ?? []) {
    if (download.place !== view.id("place") || fetched.has(download.id)) continue;
    fetched.add(download.id);
    fetchDownload(view, download);
  }
}

async function fetchDownload(view, { id, of, name, size }) {
  const pieces = [];
  let offset = 0;
  try {
    while (offset < size) {
      view.local.fetching = { of, name, offset, size };
      view.redraw();
      const text = await view.ask("download_piece", { id, offset }, [], { quiet: true, seconds: 120 });
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      if (!bytes.length) throw new Error("The file ended too soon. Ask for it again.");
      pieces.push(bytes);
      offset += bytes.length;
    }
    saveFile(name, new Blob(pieces, { type: "application/octet-stream" }));
    view.local.fetchFailure = "";
  } catch (error) {
    view.local.fetchFailure = `${name} was not downloaded. ${error.message}`;
  }
  view.local.fetching = null;
  view.intend("download_end", { id });
  view.redraw();
}

function saveFile(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** How far the file is that comes in for a batch, or for none; null: none comes. */
function fetchingOf(view, batch = "") {
  const { fetching } = view.local;
  if (!fetching || fetching.of !== batch) return null;
  return h("p", { key: "fetching", role: "status" }, `Downloading ${fetching.name}: ${fileSize(fetching.offset)} of ${fileSize(fetching.size)}`);
}

/** How far the file is that comes in, and what went wrong with the last one. */
function downloadState(view) {
  const { fetchFailure } = view.local;
  const fetching = fetchingOf(view);
  if (fetching) return fetching;
  if (!fetchFailure) return null;
  return h("div", { key: "fetch-failure", class: "bk-notice bk-error", role: "alert" },
    h("strong", null, "Error:"), h("span", { class: "bk-notice-text" }, fetchFailure));
}
