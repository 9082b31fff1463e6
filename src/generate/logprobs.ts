/** Log-probabilities of the tokens that visible text is made of. */
import type { CandidateRow, TokenMask } from "../session/candidates.ts"
import type { Tokenizer } from "../tokenizer/index.ts"
import type { ShownToken, TokenLogprob } from "./types.ts"

interface Waiting extends ShownToken {
  isControl: boolean
  /** Bytes that were shown already. */
  shown: number
}

/** Tokens whose text has not come out yet. */
export class TokenTrail {
  readonly #tokenizer: Tokenizer
  readonly #nTop: number
  #waiting: Waiting[] = []

  /** @param nTop how many of the likeliest are wanted beside each token */
  constructor(tokenizer: Tokenizer, nTop: number) {
    this.#tokenizer = tokenizer
    this.#nTop = nTop
  }

  /** A token was chosen. The log-probabilities are those of all that the mask allows; temperature and
   *  other sampling do not enter. */
  push(id: number, row: CandidateRow, mask: TokenMask): void {
    const logits = row.logits()
    const top = likeliest(logits, this.#nTop, mask).map((i): TokenLogprob => [
      i,
      logits[i]! - row.lse,
    ])
    this.#waiting.push({
      id,
      bytes: this.#tokenizer.decodeBytes(id),
      logprob: logits[id]! - row.lse,
      top,
      isControl: this.#tokenizer.isControl(id),
      shown: 0,
    })
  }

  /** The tokens that a text which comes out ends; with `isLast` also the one it ends within, cut. */
  take(text: string, isLast = false): ShownToken[] {
    const out: ShownToken[] = []
    for (let left = Buffer.byteLength(text); left > 0 && this.#waiting.length > 0;) {
      const [token] = this.#waiting as [Waiting]
      const more = token.isControl ? 0 : token.bytes.length - token.shown
      if (left < more) {
        token.shown += left
        if (isLast) out.push(shownOf(token, token.shown))
        break
      }
      left -= more
      this.#waiting.shift()
      if (!token.isControl) out.push(shownOf(token, token.bytes.length))
    }
    return out
  }

  /** What waits is part of a call. */
  drop(): void {
    this.#waiting = []
  }
}

const shownOf = ({ id, bytes, logprob, top }: Waiting, n: number): ShownToken => ({
  id,
  bytes: bytes.subarray(0, n),
  logprob,
  top,
})

/** The n largest that the mask allows, largest first. */
function likeliest(logits: Float32Array, n: number, mask: TokenMask): number[] {
  const best: number[] = []
  for (let i = 0; i < logits.length && n > 0; i++) {
    if (mask && ((mask[i >> 5]! >>> (i & 31)) & 1) === 0) continue
    if (best.length === n && logits[i]! <= logits[best[n - 1]!]!) continue
    let at = best.length
    while (at > 0 && logits[best[at - 1]!]! < logits[i]!) at--
    best.splice(at, 0, i)
    if (best.length > n) best.pop()
  }
  return best
}
