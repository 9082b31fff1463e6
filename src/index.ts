/** ds4 as a library: everything a script needs to open a model and run it, from one call that answers
 *  a question down to the ops of a single layer. */
export * from "./chat/index.ts"
export * from "./errors.ts"
export { Engine, type EngineInfo } from "./generate/engine.ts"
export { stopIds } from "./generate/generation.ts"
export type * from "./generate/types.ts"
export { readGguf } from "./gguf/reader.ts"
export { GgufWriter } from "./gguf/writer.ts"
export type { GgufFile, TensorInfo } from "./gguf/types.ts"
export { type Config, readConfig, shapeName } from "./model/config.ts"
export type { Activations } from "./model/scratch.ts"
export {
  beginStep,
  forward,
  forwardLayer,
  type Model,
  outputHead,
  type StepRows,
} from "./model/transformer.ts"
export type { LayerWeights, Weights } from "./model/weights.ts"
export { type Backend, type BackendName, BACKENDS } from "./ops/backend.ts"
export { openBackend } from "./ops/open.ts"
export { Ops } from "./ops/ops.ts"
export { Tensor } from "./ops/tensor.ts"
export { openModelFile, openRuntime, type ModelSource, type OpenOptions } from "./session/open.ts"
export { Runtime, type Work } from "./session/runtime.ts"
export { Sampler, type SamplingParams } from "./session/sampler.ts"
export { Session } from "./session/session.ts"
export { StreamDecoder, Tokenizer } from "./tokenizer/index.ts"
