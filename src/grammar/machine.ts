/** Runs a grammar over symbols. What may come next is a set of frames, each a node and what follows it, so
 *  nesting needs no more than a stack of its own, and alternatives no guessing. Frames and states are
 *  made once: equal ones are the same object, and what was found out about a state stays with it. */
import { hasSymbol, type Node, type TextNode, type TreeNode } from "./nodes.ts"
import { ESCAPE, isPlain, tailOf } from "./text.ts"

/** A node to be matched, how far it is, and what comes after it; the end has no node. */
export interface Frame {
  readonly node: Node | null
  /** Position in a literal or stop, rounds of a repetition, characters of a text, bits of a shuffle. */
  readonly count: number
  readonly after: Frame | null
  readonly id: number
  readonly made: Map<number, Frame>
}

export interface State {
  /** Frames that wait for a symbol. */
  readonly frames: readonly Frame[]
  /** Whether the text may end here. */
  readonly accepts: boolean
  /** Whether nothing but syntax can follow. */
  readonly isSyntax: boolean
  readonly next: Map<number, State | null>
  /** Of the vocabulary's tokens, made when asked for (mask.ts). */
  mask: Int32Array | null
}

const COUNTS = 2 ** 20

export class Machine {
  readonly #root: Node
  readonly #end: Frame = { node: null, count: 0, after: null, id: 0, made: new Map() }
  readonly #states = new Map<string, State>()
  #lastFrame = 0

  constructor(root: Node) {
    this.#root = root
  }

  get start(): State {
    return this.#state([this.#frame(this.#root, 0, this.#end)])
  }

  /** States known so far: a measure of the memory they take. */
  get size(): number {
    return this.#states.size
  }

  /** The state after a symbol; null if it cannot come. */
  step(state: State, symbol: number): State | null {
    const known = state.next.get(symbol)
    if (known !== undefined) return known
    const frames: Frame[] = []
    for (const frame of state.frames) this.#advance(frame, symbol, frames)
    const next = frames.length === 0 ? null : this.#state(frames)
    state.next.set(symbol, next)
    return next
  }

  /** Whether a whole text satisfies the grammar. */
  accepts(symbols: Iterable<number>): boolean {
    let state: State | null = this.start
    for (const symbol of symbols) state = state && this.step(state, symbol)
    return state !== null && state.accepts
  }

  /** A state of some of another's frames. */
  part(frames: readonly Frame[]): State {
    return this.#state(frames)
  }

  /** Forgets all states and frames, and returns one of them made anew. Those that others still hold stay
   *  good: ids are never given twice, and there is one end. */
  forget(state: State): State {
    this.#states.clear()
    this.#end.made.clear()
    return this.#state(state.accepts ? [...state.frames, this.#end] : state.frames)
  }

  #frame(node: Node, count: number, after: Frame): Frame {
    const key = node.id * COUNTS + count
    let frame = after.made.get(key)
    if (!frame) {
      frame = { node, count, after, id: ++this.#lastFrame, made: new Map() }
      after.made.set(key, frame)
    }
    return frame
  }

  /** The state of these frames and all that they open. */
  #state(frames: readonly Frame[]): State {
    const seen = new Set<Frame>()
    const waiting: Frame[] = []
    for (const frame of frames) this.#open(frame, seen, waiting)
    waiting.sort((a, b) => a.id - b.id)
    const accepts = seen.has(this.#end)
    const key = `${accepts ? "." : ""}${waiting.map((f) => f.id).join()}`
    let state = this.#states.get(key)
    if (!state) {
      const isSyntax = !waiting.some((f) => f.node!.isPayload)
      state = { frames: waiting, accepts, isSyntax, next: new Map(), mask: null }
      this.#states.set(key, state)
    }
    return state
  }

  /** Follows a frame down to those that wait for a symbol. */
  #open(frame: Frame, seen: Set<Frame>, waiting: Frame[]): void {
    if (seen.has(frame)) return
    seen.add(frame)
    const { node, count, after } = frame
    if (node === null) return
    const open = (f: Frame) => this.#open(f, seen, waiting)
    switch (node.kind) {
      case "sequence":
        return open(node.items.reduceRight((rest, item) => this.#frame(item, 0, rest), after!))
      case "choice":
        return node.items.forEach((item) => open(this.#frame(item, 0, after!)))
      case "link":
        return open(this.#frame(node.target!, 0, after!))
      case "repeat": {
        if (count >= node.min) open(after!)
        if (count >= node.max) return
        const rounds = node.max === Infinity ? Math.min(count + 1, node.min) : count + 1
        return open(this.#frame(node.item, 0, this.#frame(node, rounds, after!)))
      }
      case "shuffle":
        if (node.items.every((item, i) => !item.isRequired || (count >> i) & 1)) open(after!)
        return node.items.forEach((item, i) => {
          if (((count >> i) & 1) === 0)
            open(this.#frame(item.node, 0, this.#frame(node, count | (1 << i), after!)))
        })
      case "text":
        if (count >= node.min) open(after!)
        if (count < node.max) waiting.push(frame)
        return
      case "tree":
        if (node.ends) open(after!)
        if (node.next.size > 0) waiting.push(frame)
        return
      case "until":
        if (node.mayEnd && count === 0) open(after!)
        waiting.push(frame)
        return
      default:
        waiting.push(frame)
    }
  }

  /** Adds the frames after a symbol of one that waits. */
  #advance({ node, count, after }: Frame, symbol: number, out: Frame[]): void {
    switch (node!.kind) {
      case "set":
        if (hasSymbol(node!.bits, symbol)) out.push(after!)
        return
      case "literal":
        if (node!.symbols[count] !== symbol) return
        out.push(
          count + 1 === node!.symbols.length ? after! : this.#frame(node!, count + 1, after!),
        )
        return
      case "tree": {
        const next: TreeNode | undefined = node!.next.get(symbol)
        if (next) out.push(this.#frame(next, 0, after!))
        return
      }
      case "until":
        return this.#advanceUntil(node!, count, symbol, after!, out)
      case "text":
        return this.#advanceText(node!, count, symbol, after!, out)
    }
  }

  /** Text runs on whatever comes; but what begins like the stop in ordinary letters is not let in. */
  #advanceUntil(
    node: Node & { kind: "until" },
    count: number,
    symbol: number,
    after: Frame,
    out: Frame[],
  ): void {
    const { stop } = node
    if (symbol === stop[count]) {
      if (count + 1 < stop.length) out.push(this.#frame(node, count + 1, after))
      else if (node.then) out.push(this.#frame(node.then, 0, after))
      return
    }
    const controlIsNext = stop[count]! >= 256
    if (symbol >= 256 || (controlIsNext && symbol === FULL_WIDTH_LEAD)) return
    out.push(this.#frame(node, symbol === stop[0] ? 1 : 0, after))
  }

  #advanceText(node: TextNode, count: number, symbol: number, after: Frame, out: Frame[]): void {
    const chars = node.max === Infinity ? Math.min(count + 1, node.min) : count + 1
    const rest = this.#frame(node, chars, after)
    if (node.isJson ? isPlain(symbol) : symbol < 0x80 && symbol !== LESS_THAN) out.push(rest)
    else if (node.isJson && symbol === BACKSLASH) out.push(this.#frame(ESCAPE, 0, rest))
    else {
      const tail = tailOf(symbol)
      if (tail) out.push(this.#frame(tail, 0, rest))
    }
  }
}

const BACKSLASH = 0x5c
const LESS_THAN = 0x3c
/** First byte of ｜ in UTF-8. */
const FULL_WIDTH_LEAD = 0xef
