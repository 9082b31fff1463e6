/** Markdown as the model writes it, to elements. Text only ever becomes text nodes: nothing in it can be
 *  markup of the page. */

import { copyText } from "./save.ts"

/** Puts the blocks of a text into an element, in place of what it has. */
export function renderMarkdown(into: HTMLElement, text: string): void {
  into.replaceChildren(...blocks(text.split("\n")))
}

function blocks(lines: readonly string[]): HTMLElement[] {
  const out: HTMLElement[] = []
  for (let i = 0; i < lines.length;) {
    const line = lines[i]!
    const fence = line.match(/^\s*(```+|~~~+)\s*([\w+-]*)/)
    const heading = line.match(/^(#{1,6})\s+(.*)$/)
    if (line.trim() === "") i++
    else if (fence) {
      const end = lines.findIndex((l, k) => k > i && l.trim().startsWith(fence[1]!))
      const until = end < 0 ? lines.length : end
      out.push(codeBlock(lines.slice(i + 1, until).join("\n")))
      i = until + 1
    } else if (heading) {
      out.push(element(`h${Math.min(heading[1]!.length + 1, 6)}`, inline(heading[2]!)))
      i++
    } else if (line.includes("|") && RULE.test(lines[i + 1] ?? "")) {
      const end = endOf(lines, i + 1, (l) => l.includes("|"))
      out.push(table(lines.slice(i, end)))
      i = end
    } else if (ITEM.test(line)) {
      const end = endOf(lines, i, (l) => ITEM.test(l) || /^\s{2,}\S/.test(l))
      out.push(list(lines.slice(i, end)))
      i = end
    } else if (/^\s*>/.test(line)) {
      const end = endOf(lines, i, (l) => /^\s*>/.test(l))
      out.push(
        element("blockquote", blocks(lines.slice(i, end).map((l) => l.replace(/^\s*> ?/, "")))),
      )
      i = end
    } else {
      const end = endOf(lines, i, (l) => l.trim() !== "" && !STARTS.test(l))
      out.push(element("p", inline(lines.slice(i, end).join("\n"))))
      i = end
    }
  }
  return out
}

/** The line under a table's head. */
const RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)+\|?\s*$/
const ITEM = /^\s*([-*+]|\d+[.)])\s+/
/** What ends a paragraph without an empty line. */
const STARTS = /^\s*(```|~~~|#{1,6}\s|>|[-*+]\s+|\d+[.)]\s+)/

/** The first line after `from` that does not belong. */
function endOf(lines: readonly string[], from: number, belongs: (line: string) => boolean): number {
  let end = from + 1
  while (end < lines.length && belongs(lines[end]!)) end++
  return end
}

function list(lines: readonly string[]): HTMLElement {
  const isOrdered = /^\s*\d/.test(lines[0]!)
  const items: string[][] = []
  for (const line of lines)
    if (ITEM.test(line) && !/^\s{2,}/.test(line)) items.push([line.replace(ITEM, "")])
    else items.at(-1)?.push(line.replace(/^\s{2,4}/, ""))
  const elements = items.map((item) =>
    element("li", item.length === 1 ? inline(item[0]!) : blocks(item)),
  )
  const out = element(isOrdered ? "ol" : "ul", elements)
  const start = Number.parseInt(lines[0]!.trim(), 10)
  if (isOrdered && start !== 1) out.setAttribute("start", String(start))
  return out
}

/** A head, its rule, and rows. */
function table([head, , ...rows]: readonly string[]): HTMLElement {
  const row = (line: string, tag: string) => {
    const cells = line
      .trim()
      .replace(/^\||(?<!\\)\|$/g, "")
      .split(/(?<!\\)\|/)
    return element(
      "tr",
      cells.map((cell) => element(tag, inline(cell.trim().replaceAll("\\|", "|")))),
    )
  }
  const body = [row(head!, "th"), ...rows.map((line) => row(line, "td"))]
  const scroll = element("div", [element("table", body)])
  scroll.className = "table"
  return scroll
}

function codeBlock(text: string): HTMLElement {
  const copy = element("button", ["Copy"])
  copy.setAttribute("type", "button")
  copy.addEventListener("click", () => {
    copyText(text)
    copy.textContent = "Copied"
    setTimeout(() => (copy.textContent = "Copy"), 1500)
  })
  return element("pre", [copy, element("code", [text])])
}

/** Code, bold, italics and links of a line. Links open elsewhere, and only to the web. */
function inline(text: string): (HTMLElement | string)[] {
  const out: (HTMLElement | string)[] = []
  let at = 0
  for (const m of text.matchAll(INLINE)) {
    out.push(text.slice(at, m.index))
    at = m.index + m[0].length
    const { code, bold, italic, label, href } = m.groups as Record<string, string | undefined>
    if (code !== undefined) out.push(element("code", [code]))
    else if (bold !== undefined) out.push(element("strong", inline(bold)))
    else if (italic !== undefined) out.push(element("em", inline(italic)))
    else out.push(link(label!, href!))
  }
  out.push(text.slice(at))
  return out.filter((part) => part !== "")
}

const INLINE =
  /`(?<code>[^`\n]+)`|\*\*(?<bold>[^*\n]+)\*\*|(?<![\w*])\*(?<italic>[^*\s][^*\n]*)\*(?!\w)|\[(?<label>[^\]\n]+)\]\((?<href>https?:\/\/[^)\s]+)\)/g

function link(label: string, href: string): HTMLElement {
  const a = element("a", [label])
  a.setAttribute("href", href)
  a.setAttribute("target", "_blank")
  a.setAttribute("rel", "noopener noreferrer")
  return a
}

export function element(tag: string, children: readonly (Node | string)[] = []): HTMLElement {
  const e = document.createElement(tag)
  e.append(...children)
  return e
}
