import { USER } from "../chat/index.ts"
import type { GgufFile } from "../gguf/types.ts"
import { Tokenizer } from "../tokenizer/index.ts"

/** The tokenizer that a model file carries. @throws GgufError naming the key that cannot be used. */
export function tokenizerOf({ metadata }: GgufFile): Tokenizer {
  return new Tokenizer({
    tokens: metadata.arrStr("tokenizer.ggml.tokens"),
    types: metadata.arrI32("tokenizer.ggml.token_type"),
    merges: metadata.arrStr("tokenizer.ggml.merges"),
    bosId: metadata.maybeU32("tokenizer.ggml.bos_token_id"),
    eosId: metadata.maybeU32("tokenizer.ggml.eos_token_id"),
  })
}

/** Where a later request is likely to branch off: at every turn's start, and at the answer's, whose
 *  reasoning may be dropped. */
export function turnMarks(tokenizer: Tokenizer, ids: readonly number[]): number[] {
  const user = tokenizer.id(USER)
  return [...ids.flatMap((id, i) => (id === user ? [i] : [])), ids.length - 1]
}
