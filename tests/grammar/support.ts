/** Random texts that a grammar allows, and whether it allows a text. */
import {
  type Constraint,
  type Grammars,
  grammarVocabulary,
  Grammars as Kept,
} from "../../src/grammar/index.ts"
import { Tokenizer } from "../../src/tokenizer/index.ts"
import { Rng } from "../../src/session/sampler.ts"
import { deepseekArrays, miniArrays } from "../tokenizer/vocabularies.ts"

export interface Words {
  tokenizer: Tokenizer
  grammars: Grammars
  /** Tokens that tend to end something. */
  ends: ReadonlySet<number>
}

const words = (tokenizer: Tokenizer): Words => ({
  tokenizer,
  grammars: new Kept(grammarVocabulary(tokenizer)),
  ends: new Set(
    Array.from({ length: tokenizer.vocabSize }, (_, id) => id).filter((id) =>
      /^(?:["}\]]|<)/.test(tokenizer.decode([id])),
    ),
  ),
})

/** The vocabulary of ds4-mini. */
export function miniWords(): Words {
  const arrays = miniArrays()
  const eosId = arrays.tokens.indexOf("<｜end▁of▁sentence｜>")
  return words(new Tokenizer({ ...arrays, eosId }))
}

/** The vocabulary of the full model. */
export async function fullWords(): Promise<Words> {
  return words(new Tokenizer({ ...(await deepseekArrays("v4")), eosId: 1 }))
}

const isIn = (mask: Int32Array, id: number) => ((mask[id >> 5]! >>> (id & 31)) & 1) === 1

/** Whether a text, in the tokens that the tokenizer makes of it, can come and end. */
export function allows(
  { tokenizer, grammars }: Words,
  constraint: Constraint,
  text: string,
): boolean {
  const matcher = grammars.matcher(constraint)
  for (const id of [...tokenizer.encodeSpecial(text), tokenizer.eosId!]) {
    if (!isIn(matcher.mask(), id)) return false
    matcher.push(id)
  }
  return true
}

/** A text of random tokens that the masks allow, which tends to an end. */
export function randomText(
  { tokenizer, grammars, ends: known }: Words,
  constraint: Constraint,
  seed: number,
  most = 2000,
): string {
  const rng = new Rng(seed)
  const matcher = grammars.matcher(constraint)
  const ids: number[] = []
  while (ids.length < most) {
    const mask = matcher.mask()
    const allowed: number[] = []
    mask.forEach((word, w) => {
      for (let bits = word; bits !== 0; bits &= bits - 1)
        allowed.push(32 * w + 31 - Math.clz32(bits & -bits))
    })
    if (allowed.length === 0) throw new Error(`Nothing may follow ${tokenizer.decode(ids)}`)
    const ends = allowed.filter((id) => known.has(id))
    if (isIn(mask, tokenizer.eosId!) && (allowed.length === 1 || rng.next() < 0.5))
      return tokenizer.decode(ids)
    const from = ends.length > 0 && rng.next() < 0.4 ? ends : allowed
    const id = from[Math.floor(rng.next() * from.length)]!
    if (id === tokenizer.eosId) return tokenizer.decode(ids)
    matcher.push(id)
    ids.push(id)
  }
  throw new Error(`No end after ${most} tokens: ${tokenizer.decode(ids).slice(0, 200)}`)
}
