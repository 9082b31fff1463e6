/** Every failure a user or a caller can meet, by kind. Messages say what was tried, what is the
 *  case and what was wanted: `Cannot bind "blk.0.attn_q_a.weight": shape is [4096, 512], expected
 *  [4096, 1024]`. A broken assumption of our own is an `AssertionError`, never one of these. */
export class Ds4Error extends Error {
  override name = "Ds4Error"
}

/** A GGUF file that is damaged, hostile, foreign, or not one at all. */
export class GgufError extends Ds4Error {
  override name = "GgufError"
  /** Byte offset in the file where the problem lies, if it has a place. */
  readonly offset: number | undefined
  constructor(message: string, offset?: number, options?: ErrorOptions) {
    super(offset === undefined ? message : `${message} (byte ${offset})`, options)
    this.offset = offset
  }
}

/** Tensors whose shapes, types or sizes do not fit together. */
export class ShapeError extends Ds4Error {
  override name = "ShapeError"
}

/** A native library that is missing, does not load or refuses a call. */
export class NativeError extends Ds4Error {
  override name = "NativeError"
}

/** A request that needs more context or memory than there is. */
export class ContextError extends Ds4Error {
  override name = "ContextError"
}

/** A conversation that the chat protocol cannot render. */
export class TemplateError extends Ds4Error {
  override name = "TemplateError"
}

/** A schema that output cannot be held to, with the place and the keyword. */
export class SchemaError extends Ds4Error {
  override name = "SchemaError"
}

/** Logits that hold NaN or infinity: the request is aborted and nothing of it is kept. */
export class NumericalError extends Ds4Error {
  override name = "NumericalError"
}

/** A wrong flag, value or file on the command line: one line, exit code 2. */
export class CliError extends Ds4Error {
  override name = "CliError"
}

/** Throws when one of our own assumptions is broken; never for bad input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message)
}

export class AssertionError extends Error {
  override name = "AssertionError"
}
