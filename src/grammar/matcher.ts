/** Which tokens a grammar lets come next, as a bit mask over the vocabulary. */
import { Ds4Error } from "../errors.ts"
import type { Frame, Machine, State } from "./machine.ts"
import { type GrammarVocabulary, setBit, type TokenTree } from "./vocabulary.ts"

/** States that a machine keeps, with their masks, before it forgets them: at most some 32 MB. */
const MAX_STATES = 20_000
const MAX_MASK_BYTES = 2 ** 25

/** A machine over a vocabulary, shared by all requests with the same grammar. */
export class TokenMasks {
  readonly machine: Machine
  readonly vocabulary: GrammarVocabulary
  #maskBytes = 0

  constructor(machine: Machine, vocabulary: GrammarVocabulary) {
    this.machine = machine
    this.vocabulary = vocabulary
  }

  /** The tokens that may come in a state. Linear in the tokens that begin as the grammar goes on. */
  of(state: State): Int32Array {
    if (state.mask) return state.mask
    const { vocabulary: v } = this
    const mask = new Int32Array(v.words)
    const others: Frame[] = []
    for (const frame of state.frames) if (!this.#shortcut(frame, mask)) others.push(frame)
    if (others.length > 0) this.#walk(v.all, this.machine.part(others), mask)
    for (const [id, same] of v.sameAs) if ((mask[same >> 5]! >>> (same & 31)) & 1) setBit(mask, id)
    if (state.accepts && v.eosId !== undefined) setBit(mask, v.eosId)
    this.#maskBytes += mask.byteLength
    state.mask = mask
    return mask
  }

  /** The state to go on from: the same, made anew when there are too many. */
  tidy(state: State): State {
    if (this.machine.size < MAX_STATES && this.#maskBytes < MAX_MASK_BYTES) return state
    this.#maskBytes = 0
    return this.machine.forget(state)
  }

  /** Free text takes most tokens as they are; only the others are tried. */
  #shortcut(frame: Frame, mask: Int32Array): boolean {
    const { vocabulary: v } = this
    const { node, count } = frame
    if (node?.kind === "text") {
      const most = v.textOfLength.length - 1
      const left = node.max === Infinity ? most : Math.min(most, node.max - count)
      const fitting = v.textOfLength[left]!
      const state = this.machine.part([frame])
      for (let i = 0; i < mask.length; i++)
        mask[i]! |= node.isJson ? fitting[i]! : fitting[i]! & v.untilMask[i]!
      this.#walk(v.notInText, state, mask)
      if (!node.isJson) this.#walk(v.notInUntil, state, mask)
      return true
    }
    if (node?.kind !== "until" || count > 0 || node.stop[0] !== 0x3c) return false
    for (let i = 0; i < mask.length; i++) mask[i]! |= v.untilMask[i]!
    this.#walk(v.notInUntil, this.machine.part([frame]), mask)
    return true
  }

  #walk(tree: TokenTree, state: State, mask: Int32Array): void {
    const nodes = [0]
    const states = [state]
    while (nodes.length > 0) {
      const at = nodes.pop()!
      const here = states.pop()!
      for (let child = tree.first[at]!; child < tree.last[at]!; child++) {
        const next = this.machine.step(here, tree.symbol[child]!)
        if (!next) continue
        if (tree.token[child]! >= 0) setBit(mask, tree.token[child]!)
        if (tree.first[child]! === tree.last[child]!) continue
        nodes.push(child)
        states.push(next)
      }
    }
  }
}

/** One text under a grammar, token by token. */
export class Matcher {
  readonly #masks: TokenMasks
  #state: State

  constructor(masks: TokenMasks) {
    this.#masks = masks
    this.#state = masks.machine.start
  }

  mask(): Int32Array {
    return this.#masks.of(this.#state)
  }

  /** Whether nothing but syntax comes next: the most likely token is taken then. */
  get isSyntax(): boolean {
    return this.#state.isSyntax
  }

  /** Goes on by a token of the mask. @throws Ds4Error for any other */
  push(id: number): void {
    const { machine, vocabulary } = this.#masks
    if (id === vocabulary.eosId && this.#state.accepts) return
    let state: State | null = this.#state
    const symbols = vocabulary.symbols(id)
    for (let i = 0; i < symbols.length; i++) {
      state = machine.step(state, symbols.charCodeAt(i))
      if (!state) throw new Ds4Error(`Token ${id} does not follow the grammar`)
    }
    this.#state = this.#masks.tidy(state)
  }
}
