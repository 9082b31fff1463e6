/** Text to token ids and back. Pure: no files, no engine. */

export { StreamDecoder } from "./stream.ts"
export { Tokenizer } from "./tokenizer.ts"
export type { TokenizerOptions } from "./tokenizer.ts"
export type { VocabularyArrays } from "./vocabulary.ts"
