/** Model output to events, as the text comes (spec §16.5). The protocol is read to the letter as
 *  long as the output follows it; from the first departure on the reading is tolerant: other
 *  spellings of the tags, white space between them, attributes in any form. What is no call even
 *  then comes out as text, whole. The events do not depend on how the text is cut. */

import { Broken, CallReader, SPELLINGS } from "./calls.ts"
import type { Sink } from "./calls.ts"
import { Feed, Markers, isBlank } from "./feed.ts"
import type { Steps } from "./feed.ts"
import { BOS, DSML, END_THINK, EOS, THINK } from "./prompts.ts"
import type { ChatDone, ChatEvent, ParseErrorCode } from "./types.ts"

export interface ParserOptions {
  /** Whether the prompt ended with `<think>`. */
  thinking: boolean
  /** Take `<DSML｜tool_calls>` and `<tool_calls>` for calls too. Default true. */
  otherSpellings?: boolean
}

const STARTS = SPELLINGS.map((spelling) => `<${spelling}tool_calls`)
const START = `<${DSML}tool_calls`
const CONTROLS = [EOS, BOS, THINK, END_THINK, DSML]
const REASONING = new Markers([...CONTROLS, `\n\n${START}`])
const CONTENT = new Markers([...CONTROLS, START])
const CONTENT_TOLERANT = new Markers([...CONTROLS, ...STARTS])

/** Feed it text with `push`, then call `end` once; both return the events that are certain. */
export class OutputParser {
  readonly #feed = new Feed()
  readonly #calls: CallReader
  readonly #steps: Steps<void>
  readonly #content: Markers
  #events: ChatEvent[] = []
  #error: ParseErrorCode | undefined
  #rest = ""
  /** White space at the end of the content so far: it may belong to a block. */
  #held = ""
  /** White space before the current block: all that came out in no event yet, and what of it is
   *  content if the block is one. */
  #lead = { raw: "", text: "" }
  /** A block with calls has ended, and no text came since. */
  #afterCalls = false
  /** After a block that was none, nothing is taken for one any more. */
  #isPlain = false

  constructor({ thinking, otherSpellings = true }: ParserOptions) {
    const sink: Sink = {
      emit: (event) => void this.#events.push(event),
      note: (code) => this.#note(code),
      isStrict: () => this.#error === undefined,
      begin: () => this.#begin(),
    }
    this.#calls = new CallReader(this.#feed, sink)
    this.#content = otherSpellings ? CONTENT_TOLERANT : CONTENT
    this.#steps = this.#run(thinking)
    this.#steps.next()
  }

  /** More output, control tokens as their text. */
  push(text: string): ChatEvent[] {
    this.#feed.add(text)
    return this.#advance()
  }

  /** The output is over; the last event is `done`.
   *  @param stopped true if the model ended it though the text does not have the end token, as when
   *  the caller keeps that back. */
  end(stopped = false): ChatEvent[] {
    this.#feed.end(stopped)
    return this.#advance()
  }

  #advance(): ChatEvent[] {
    this.#steps.next()
    const events = this.#events
    this.#events = []
    return events
  }

  #note(code: ParseErrorCode): void {
    this.#error ??= code
  }

  *#run(thinking: boolean): Steps<void> {
    if (thinking) yield* this.#reasoning()
    yield* this.#text()
    const { stopped, trailing } = this.#feed
    if (!stopped) this.#note("missing_end")
    else if (trailing) this.#note("text_after_end")
    const done: ChatDone = {
      type: "done",
      finish: !stopped ? "cut" : this.#calls.nCalls > 0 ? "tool_calls" : "stop",
    }
    if (this.#error !== undefined) done.error = this.#error
    if (this.#rest !== "") done.rest = this.#rest
    this.#events.push(done)
  }

  *#reasoning(): Steps<void> {
    const feed = this.#feed
    const think = (text: string): void => void this.#events.push({ type: "thinking", text })
    for (;;) {
      const marker = yield* feed.until(REASONING, think)
      if (marker === END_THINK) return void feed.take(marker.length)
      if (marker === undefined || (marker === EOS && (yield* feed.ends()))) {
        this.#note("missing_think_end")
        if (feed.text !== "" && !beginsTag(feed.text)) think(feed.take(feed.text.length))
        return
      }
      this.#note(marker.endsWith(START) ? "missing_think_end" : "control_token_in_text")
      think(feed.take(marker.length))
    }
  }

  *#text(): Steps<void> {
    const feed = this.#feed
    for (;;) {
      const marker = yield* feed.until(this.#content, (text) => this.#say(text))
      if (marker === undefined || (marker === EOS && (yield* feed.ends()))) break
      if (!this.#isPlain && STARTS.includes(marker)) {
        yield* this.#block(marker)
        continue
      }
      this.#note(marker === EOS ? "text_after_end" : "control_token_in_text")
      this.#say(feed.take(marker.length))
    }
    if (beginsTag(feed.text)) {
      this.#rest += this.#held + feed.text
      return
    }
    this.#say(feed.take(feed.text.length))
    if (this.#afterCalls && this.#held !== "") this.#note("text_after_calls")
    else if (this.#held !== "") this.#events.push({ type: "text", text: this.#held })
  }

  /** Emits content; white space at its end is held until more comes. */
  #say(text: string): void {
    let end = text.length
    while (end > 0 && isBlank(text.charCodeAt(end - 1))) end--
    if (end === 0) {
      this.#held += text
      return
    }
    if (this.#afterCalls) this.#note("text_after_calls")
    this.#afterCalls = false
    this.#events.push({ type: "text", text: this.#held + text.slice(0, end) })
    this.#held = text.slice(end)
  }

  /** A block of calls, or what turns out to be none. */
  *#block(start: string): Steps<void> {
    const feed = this.#feed
    const calls = this.#calls
    const isStrict = start === START && this.#held.endsWith("\n\n")
    if (!isStrict) this.#note(start === START ? "control_token_in_text" : "other_spelling")
    if (calls.nCalls > 0) this.#note("text_after_calls")
    this.#lead = { raw: this.#held, text: isStrict ? this.#held.slice(0, -2) : "" }
    this.#held = ""
    feed.keep()
    feed.take(start.length)
    const before = calls.nCalls
    try {
      yield* calls.block()
      this.#begin() // of an empty block
      this.#afterCalls = calls.nCalls > 0
      feed.release()
    } catch (broken) {
      if (!(broken instanceof Broken)) throw broken
      const raw = (calls.nCalls > before ? "" : this.#lead.raw) + feed.release()
      this.#isPlain = true
      if (calls.isOpen) this.#events.push({ type: "call_cut", index: calls.nCalls })
      if (broken.cut) this.#rest = raw + feed.take(feed.text.length)
      else this.#say(raw)
    }
  }

  /** The block has a call: what the white space before it means is settled. */
  #begin(): void {
    const { raw, text } = this.#lead
    if (text !== "" && !this.#afterCalls) this.#events.push({ type: "text", text })
    this.#lead = { raw: raw.slice(text.length), text: "" }
  }
}

/** Whether the end of a text that was cut may begin a tag; a single character is not enough. */
const beginsTag = (text: string): boolean => /[<｜]./su.test(text)
