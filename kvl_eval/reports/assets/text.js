// Foreign texts as nodes: Markdown by the lexer of marked, formulas by Temml. No HTML string enters the page.
"use strict";
(() => {
  const OPEN = "\uE000", CLOSE = "\uE001"; // around the extracted answer; foreign texts have them spelled out
  const SIGNS = /[\uE000\uE001]/g;
  const LONGEST = 50000; // characters of a text that is rendered
  const LONGEST_FORMULA = 2000;
  const SEARCHED = 20000; // characters in which the end of a formula is looked for
  const STARTS = ["$", "\\(", "\\[", "\\boxed{", "\\begin{"];

  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) if (value !== null && value !== undefined) node.setAttribute(key, value);
    node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  }
  const bare = (text) => text.replace(SIGNS, "");
  const signs = (text) => (text.match(SIGNS) || []).length;

  // -- formulas: where one begins and ends ---------------------------------------------------------------------------
  function enclosed(source, open, close, display) {
    const end = source.slice(0, SEARCHED).indexOf(close, open.length);
    if (end < 0) return undefined;
    const text = source.slice(open.length, end);
    return bare(text).trim() ? { raw: source.slice(0, end + close.length), text, display } : undefined;
  }

  function environment(source) {
    const name = /^\\begin\{([a-zA-Z]+\*?)\}/.exec(source);
    if (!name) return undefined;
    const close = `\\end{${name[1]}}`, end = source.slice(0, SEARCHED).indexOf(close);
    if (end < 0) return undefined;
    const raw = source.slice(0, end + close.length);
    return { raw, text: raw, display: true };
  }

  function boxed(source) {
    let depth = 0;
    for (let at = "\\boxed".length; at < Math.min(source.length, LONGEST_FORMULA); at += 1) {
      if (source[at] === "\\") at += 1;
      else if (source[at] === "{") depth += 1;
      else if (source[at] === "}" && (depth -= 1) === 0) return { raw: source.slice(0, at + 1), text: source.slice(0, at + 1), display: false };
    }
    return undefined;
  }

  // A lone $ before a number is money: what it encloses neither begins nor ends with a space, nor does a digit follow.
  function dollar(source) {
    const match = /^\$((?:\\[^]|[^\\$\n])+)\$(?!\d)/.exec(source.slice(0, SEARCHED));
    if (!match || /^\s|\s$/.test(bare(match[1])) || !bare(match[1])) return undefined;
    return { raw: match[0], text: match[1], display: false };
  }

  function formulaAt(source) {
    if (source.startsWith("$$")) return enclosed(source, "$$", "$$", true);
    if (source.startsWith("$")) return dollar(source);
    if (source.startsWith("\\(")) return enclosed(source, "\\(", "\\)", false);
    if (source.startsWith("\\[")) return enclosed(source, "\\[", "\\]", true);
    if (source.startsWith("\\boxed{")) return boxed(source);
    return source.startsWith("\\begin{") ? environment(source) : undefined;
  }

  function blockFormulaAt(source) {
    const indent = /^ {0,3}(?=\$\$|\\\[|\\begin\{)/.exec(source);
    const found = indent && formulaAt(source.slice(indent[0].length));
    const rest = found && /^[\uE000\uE001]?[ \t]*(?:\n|$)/.exec(source.slice(indent[0].length + found.raw.length));
    return rest ? { ...found, raw: indent[0] + found.raw + rest[0] } : undefined;
  }

  const lexer = new window.marked.Marked({
    gfm: true,
    breaks: true,
    extensions: [
      {
        name: "formula",
        level: "inline",
        start(source) {
          const places = STARTS.map((mark) => source.indexOf(mark)).filter((place) => place >= 0);
          return places.length ? Math.min(...places) : undefined;
        },
        tokenizer(source) { const found = formulaAt(source); return found && { type: "formula", ...found }; },
      },
      {
        name: "formulaBlock",
        level: "block",
        start(source) { const place = source.search(/\n {0,3}(?:\$\$|\\\[|\\begin\{)/); return place < 0 ? undefined : place; },
        tokenizer(source) { const found = blockFormulaAt(source); return found && { type: "formulaBlock", ...found }; },
      },
    ],
    tokenizer: { del() { return undefined; }, html() { return undefined; } }, // 5~10 and <answer> are what they look like
  });

  // -- tokens to nodes -----------------------------------------------------------------------------------------------
  function marked(text, state) {
    const out = [];
    for (const part of text.split(/([\uE000\uE001])/)) {
      if (part === OPEN || part === CLOSE) { state.marked = part === OPEN; state.signs += 1; }
      else if (part) out.push(state.marked ? el("mark", null, part) : document.createTextNode(part));
    }
    return out;
  }

  function drawn(source, raw, display) {
    if (source.length <= LONGEST_FORMULA) {
      try {
        const box = el("span", { class: "tex" });
        window.temml.render(source, box, { displayMode: display, throwOnError: true, trust: false, maxExpand: 500, maxSize: [20, 20] });
        return box;
      } catch { /* shown as its source */ }
    }
    return el("code", null, raw);
  }

  function formula(token, state) {
    const touched = state.marked || token.raw.includes(OPEN);
    const node = drawn(bare(token.text), bare(token.raw).trimEnd(), token.display);
    const last = Math.max(token.raw.lastIndexOf(OPEN), token.raw.lastIndexOf(CLOSE));
    if (last >= 0) state.marked = token.raw[last] === OPEN;
    state.signs += signs(token.raw);
    return touched ? el("mark", null, node) : node;
  }

  function link(token, state) {
    if (token.raw === token.text || signs(token.raw) !== signs(token.text)) return marked(token.raw, state);
    return [...inline(token.tokens, state), ` (${token.href})`];
  }

  function inline(tokens, state) {
    return tokens.flatMap((token) => {
      switch (token.type) {
        case "formula": return [formula(token, state)];
        case "strong": case "em": return [el(token.type, null, ...inline(token.tokens, state))];
        case "codespan": return [el("code", null, ...marked(token.text, state))];
        case "br": return [el("br")];
        case "link": return link(token, state);
        case "text": return token.tokens ? inline(token.tokens, state) : marked(token.text, state);
        case "escape": return marked(token.text, state);
        default: return marked(token.raw, state); // images, HTML: their source
      }
    });
  }

  function list(token, state) {
    const start = token.ordered && token.start !== 1 ? { start: token.start } : null;
    return el(token.ordered ? "ol" : "ul", start, ...token.items.map((item) => el("li", null, ...blocks(item.tokens, state))));
  }

  function table(token, state) {
    const row = (cells, name) => el("tr", null, ...cells.map((cell) => el(name, null, ...inline(cell.tokens, state))));
    return el("table", null, el("thead", null, row(token.header, "th")), el("tbody", null, ...token.rows.map((cells) => row(cells, "td"))));
  }

  function blocks(tokens, state) {
    return tokens.flatMap((token) => {
      switch (token.type) {
        case "space": return [];
        case "formulaBlock": return [el("p", null, formula(token, state))];
        case "heading": return [el("p", { dir: "auto" }, el("strong", null, ...inline(token.tokens, state)))];
        case "paragraph": return [el("p", { dir: "auto" }, ...inline(token.tokens, state))];
        case "text": return token.tokens ? inline(token.tokens, state) : marked(token.text, state);
        case "code": return [el("pre", null, el("code", null, ...marked(token.text, state)))];
        case "blockquote": return [el("blockquote", null, ...blocks(token.tokens, state))];
        case "list": return [list(token, state)];
        case "table": return [table(token, state)];
        case "hr": return [el("hr")];
        default: return [el("p", { dir: "auto" }, ...marked(token.raw, state))];
      }
    });
  }

  // -- a whole text --------------------------------------------------------------------------------------------------
  function raw(text, span) {
    if (!span) return [document.createTextNode(text)];
    return [text.slice(0, span[0]), el("mark", null, text.slice(span[0], span[1])), text.slice(span[1])].filter(Boolean);
  }

  const asTyped = (text, span) => [el("p", { class: "as-typed", dir: "auto" }, ...raw(text, span))];

  function rendered(text, span) {
    if (text.length > LONGEST) return asTyped(text, span);
    const state = { marked: false, signs: 0 };
    const source = span ? text.slice(0, span[0]) + OPEN + text.slice(span[0], span[1]) + CLOSE + text.slice(span[1]) : text;
    try {
      const nodes = blocks(lexer.lexer(source), state);
      return span && (state.marked || state.signs !== 2) ? asTyped(text, span) : nodes; // a sign that no token kept
    } catch { // nested deeper than the lexer follows
      return asTyped(text, span);
    }
  }

  // In one line, as choices need it: the blocks' contents beside each other.
  const inLine = (text) => rendered(text, null).flatMap((node) => (node.tagName === "P" ? [...node.childNodes] : [node]));

  window.kvlText = { el, rendered, raw, inLine };
  for (const node of document.querySelectorAll("[data-rich]")) node.replaceChildren(...rendered(node.textContent, null));
})();
