/** Reads the inside of a block of tool calls; see parser.ts. */

import { Markers, isBlank } from "./feed.ts"
import type { Feed, Steps } from "./feed.ts"
import { escapeJson } from "./json.ts"
import { DSML, EOS } from "./prompts.ts"
import type { ChatEvent, ParseErrorCode } from "./types.ts"

/** What may stand after `<` or `</` of a tag: as it should be, one bar lost, plain XML. */
export const SPELLINGS = [DSML, DSML.slice(1), ""] as const

const TEXT_TRUE = '" string="true">'
const TEXT_FALSE = '" string="false">'
const KEY_START = ' name="'
const END_PARAMETER = `/${DSML}parameter`
const NAME_END = new Markers([`<${DSML}parameter`, `</${DSML}invoke`])
const KEY_END = new Markers([TEXT_TRUE, TEXT_FALSE, END_PARAMETER])

/** What closes a value. The second is a quirk of the official parser, which lets a line break in. */
const VALUE_END = [`<${END_PARAMETER}`, `<\n${END_PARAMETER}`]
const VALUES = SPELLINGS.map(
  (spelling) =>
    new Markers([...VALUE_END, spelling === DSML ? END_PARAMETER : `</${spelling}parameter`, EOS]),
)
const NESTED_KEY = new RegExp(`">[ \\t\\r\\n]*<${DSML}parameter`)

/** Names and keys longer than this, and tags with more attributes, are none. */
const LONGEST_NAME = 65_536
const LONGEST_TAG = 4096
const DEEPEST = 64

const TAG_REST = /^(?:\s*[\w-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>=]+)(?=[\s/>]))*\s*(\/?)>/
const ATTRIBUTE = /([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>=]+))/g
const ENTITIES: ReadonlyMap<string, string> = new Map([
  ["&amp;", "&"],
  ["&lt;", "<"],
  ["&gt;", ">"],
  ["&quot;", '"'],
  ["&apos;", "'"],
])

type TagName = "<invoke" | "</invoke" | "<parameter" | "</parameter" | "</tool_calls" | "end"

interface Tag {
  name: TagName
  spelling: number
  text: string
}

/** Thrown where what follows is no call. */
export class Broken {
  /** Only because the text ended, not because it is wrong. */
  readonly cut: boolean
  constructor(cut: boolean) {
    this.cut = cut
  }
}

/** Where a reader puts what it finds. */
export interface Sink {
  emit(event: ChatEvent): void
  /** The output departs from the protocol here. */
  note(code: ParseErrorCode): void
  /** It has not departed so far. */
  isStrict(): boolean
  /** The first call of a block begins. */
  begin(): void
}

/** Keeps the text that it takes since the last complete call in the feed (`Feed.keep`). */
export class CallReader {
  /** Calls that are complete. */
  nCalls = 0
  /** A call has begun and is not complete. */
  isOpen = false
  readonly #feed: Feed
  readonly #sink: Sink

  constructor(feed: Feed, sink: Sink) {
    this.#feed = feed
    this.#sink = sink
  }

  /** The rest of a block after its opening tag's name.
   *  @throws Broken where it is none. */
  *block(): Steps<void> {
    const before = this.nCalls
    yield* this.#tagEnd()
    let after: Tag | undefined
    for (;;) {
      const tag: Tag = after ?? (yield* this.#tag(this.nCalls > before, "<invoke", "</tool_calls"))
      if (tag.name === "<invoke") {
        after = yield* this.#invoke(tag)
        continue
      }
      if (tag.name === "end") this.#sink.note("unclosed_block")
      else yield* this.#close()
      return
    }
  }

  #broken(code: ParseErrorCode, needsMore: boolean): Broken {
    const cut = needsMore && this.#feed.ended && !this.#feed.stopped
    this.#sink.note(cut ? "unclosed_block" : code)
    return new Broken(cut)
  }

  /** Takes the beginning of a tag of one of the names, in any spelling, or the end of the output
   *  where that may stand in for a tag. */
  *#tag(mayEnd: boolean, ...names: TagName[]): Steps<Tag> {
    const feed = this.#feed
    for (;;) {
      let possible = EOS.startsWith(feed.text)
      for (const [spelling, prefix] of SPELLINGS.entries()) {
        for (const name of names) {
          const text = name.replace(/^<\/?/, (start) => start + prefix)
          if (feed.text.startsWith(text)) {
            if (spelling > 0) this.#sink.note("other_spelling")
            return { name, spelling, text: feed.take(text.length) }
          }
          possible ||= text.startsWith(feed.text)
        }
      }
      const isEnd = feed.text.startsWith(EOS) ? yield* feed.ends() : feed.stopped && !feed.text
      if (isEnd && mayEnd) return { name: "end", spelling: 0, text: "" }
      if (isEnd) throw this.#broken("unclosed_block", true)
      if (!possible || feed.ended) throw this.#broken("bad_separator", possible)
      yield
    }
  }

  /** The `>` of a tag. */
  *#close(): Steps<void> {
    const feed = this.#feed
    if ((yield* feed.blanks()) !== "") this.#sink.note("bad_separator")
    if (feed.text[0] !== ">") throw this.#broken("bad_separator", feed.text === "")
    feed.take(1)
  }

  /** The `>` of a tag and the white space up to the next. */
  *#tagEnd(): Steps<void> {
    yield* this.#close()
    yield* this.#gap()
  }

  *#gap(): Steps<void> {
    const gap = yield* this.#feed.blanks()
    if (gap !== "\n" && this.#feed.text !== "") this.#sink.note("bad_separator")
  }

  /** One call; returns the next tag if that has been taken already. */
  *#invoke(tag: Tag): Steps<Tag | undefined> {
    const { name, isClosed } = yield* this.#invokeName(tag)
    this.#sink.begin()
    this.isOpen = true
    this.#sink.emit({ type: "call_start", index: this.nCalls, name })
    this.#arguments("{")
    const after = isClosed ? undefined : yield* this.#parameters()
    this.#arguments("}")
    this.#sink.emit({ type: "call_end", index: this.nCalls })
    this.isOpen = false
    this.nCalls++
    this.#feed.keep(after?.text)
    return after
  }

  #arguments(text: string): void {
    if (text !== "") this.#sink.emit({ type: "call_arguments", index: this.nCalls, text })
  }

  /** The rest of an invoke tag. By the protocol a name ends where the next tag follows it, so it
   *  may hold quotes and line breaks. */
  *#invokeName(tag: Tag): Steps<{ name: string; isClosed: boolean }> {
    const feed = this.#feed
    if (tag.spelling === 0) {
      const found = yield* feed.locate(NAME_END, 0, LONGEST_NAME)
      const region = found ? feed.text.slice(0, found.at) : ""
      const name = /^\s*name="([^]*?)">\n\n?$/.exec(region)?.[1]
      if (name !== undefined) {
        feed.take(region.length)
        return { name: this.#sink.isStrict() ? name : unescape(name), isClosed: false }
      }
    }
    this.#sink.note("bad_invoke")
    const { attributes, isClosed } = yield* this.#attributes("bad_invoke")
    const name = attributes.get("name")
    if (name === undefined) throw this.#broken("bad_invoke", false)
    yield* this.#gap()
    return { name, isClosed }
  }

  /** The parameters of a call and its closing tag. A call that the next call or the end of the
   *  block follows is taken for closed: its parameters are whole. */
  *#parameters(): Steps<Tag | undefined> {
    const seen = new Set<string>()
    for (;;) {
      const tag = yield* this.#tag(false, "<parameter", "</invoke", "<invoke", "</tool_calls")
      if (tag.name === "<parameter") {
        yield* this.#parameter(tag, seen, 0)
      } else if (tag.name === "</invoke") {
        yield* this.#tagEnd()
        return undefined
      } else {
        this.#sink.note("bad_separator")
        return tag
      }
    }
  }

  *#parameter(tag: Tag, seen: Set<string>, depth: number): Steps<void> {
    const { key, isText, isClosed } = yield* this.#key(tag)
    if (seen.has(key)) throw this.#broken("duplicate_parameter", false)
    this.#arguments(`${seen.size > 0 ? ", " : ""}"${escapeJson(key)}": `)
    seen.add(key)
    if (isClosed) {
      this.#arguments('""')
      yield* this.#gap()
      return
    }
    if (isText === undefined && (yield* this.#nests())) yield* this.#object(depth + 1)
    else yield* this.#value(tag.spelling, isText ?? true)
    yield* this.#tagEnd()
  }

  /** The rest of a parameter tag. `isText` is undefined if the tag does not say. */
  *#key(tag: Tag): Steps<{ key: string; isText: boolean | undefined; isClosed: boolean }> {
    const feed = this.#feed
    if (tag.spelling === 0) {
      const found = yield* feed.locate(KEY_END, KEY_START.length, LONGEST_NAME)
      if (found && found.marker !== END_PARAMETER && feed.text.startsWith(KEY_START)) {
        const key = feed.text.slice(KEY_START.length, found.at)
        if (!NESTED_KEY.test(key)) {
          feed.take(found.at + found.marker.length)
          const isText = found.marker === TEXT_TRUE
          return { key: this.#sink.isStrict() ? key : unescape(key), isText, isClosed: false }
        }
      }
    }
    this.#sink.note("bad_parameter")
    const { attributes, isClosed } = yield* this.#attributes("bad_parameter")
    const key = attributes.get("name")
    if (key === undefined) throw this.#broken("bad_parameter", false)
    const string = attributes.get("string")?.toLowerCase()
    return { key, isText: string === undefined ? undefined : string !== "false", isClosed }
  }

  /** The rest of a tag with attributes in any order and any quotes. */
  *#attributes(
    code: ParseErrorCode,
  ): Steps<{ attributes: Map<string, string>; isClosed: boolean }> {
    const feed = this.#feed
    for (;;) {
      const found = TAG_REST.exec(feed.text.slice(0, LONGEST_TAG))
      if (found) {
        const attributes = new Map<string, string>()
        for (const [, name, double, single, bare] of feed
          .take(found[0].length)
          .matchAll(ATTRIBUTE)) {
          attributes.set(name!, unescape(double ?? single ?? bare ?? ""))
        }
        return { attributes, isClosed: found[1] === "/" }
      }
      if (feed.ended || feed.text.length >= LONGEST_TAG) throw this.#broken(code, feed.ended)
      yield
    }
  }

  /** Whether a parameter tag is next, perhaps after white space. */
  *#nests(): Steps<boolean> {
    const tags = SPELLINGS.map((spelling) => `<${spelling}parameter`)
    for (let at = 0; ;) {
      while (isBlank(this.#feed.text.charCodeAt(at))) at++
      const text = this.#feed.text.slice(at)
      if (tags.some((tag) => text.startsWith(tag))) return true
      if (this.#feed.ended || !tags.some((tag) => tag.startsWith(text))) return false
      yield
    }
  }

  /** Parameters inside a parameter: an object. */
  *#object(depth: number): Steps<void> {
    if (depth > DEEPEST) throw this.#broken("bad_parameter", false)
    const seen = new Set<string>()
    this.#arguments("{")
    yield* this.#feed.blanks()
    for (;;) {
      const tag = yield* this.#tag(false, "<parameter", "</parameter")
      if (tag.name === "</parameter") break
      yield* this.#parameter(tag, seen, depth)
    }
    this.#arguments("}")
  }

  /** A value up to its closing tag, whatever it holds: a string to be escaped, or JSON as it is. */
  *#value(spelling: number, isText: boolean): Steps<void> {
    const feed = this.#feed
    const put = (text: string): void => this.#arguments(isText ? escapeJson(text) : text)
    if (isText) this.#arguments('"')
    for (;;) {
      const marker = yield* feed.until(VALUES[spelling]!, put)
      if (marker === undefined || (marker === EOS && (yield* feed.ends()))) {
        throw this.#broken("bad_parameter", true)
      }
      const taken = feed.take(marker.length)
      if (marker !== EOS && marker !== END_PARAMETER) break
      if (marker === END_PARAMETER) this.#sink.note("bad_parameter")
      put(taken)
    }
    if (isText) this.#arguments('"')
  }
}

const unescape = (text: string): string =>
  text.replace(/&(?:amp|lt|gt|quot|apos);/g, (entity) => ENTITIES.get(entity)!)
