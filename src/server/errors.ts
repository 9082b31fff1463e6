/** Failures of a request, as HTTP has them and as OpenAI's clients expect them in JSON. */
import { ContextError, Ds4Error, TemplateError } from "../errors.ts"

export class HttpError extends Ds4Error {
  override name = "HttpError"
  readonly status: number
  /** Machine-readable: `context_length_exceeded`. */
  readonly code: string | null
  /** The field that is wrong. */
  readonly param: string | null
  readonly headers: Record<string, string>

  constructor(
    status: number,
    message: string,
    more: { code?: string; param?: string; headers?: Record<string, string> } = {},
  ) {
    super(message)
    this.status = status
    this.code = more.code ?? null
    this.param = more.param ?? null
    this.headers = more.headers ?? {}
  }
}

/** A request that cannot be used: 400, naming the field. */
export const badRequest = (message: string, param?: string, code?: string): HttpError =>
  new HttpError(400, message, { ...(param && { param }), ...(code && { code }) })

/** Any error as one with a status. What nobody foresaw is a 500 that says nothing of the inside. */
export function asHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  if (error instanceof ContextError)
    return badRequest(error.message, "messages", "context_length_exceeded")
  if (error instanceof TemplateError) {
    const path = "path" in error && typeof error.path === "string" ? error.path : undefined
    return badRequest(error.message, path)
  }
  return new HttpError(500, "The server failed; its log says more", { code: "internal_error" })
}

/** Anthropic's error object. */
export function anthropicError({ status, message }: HttpError) {
  const types = new Map([
    [401, "authentication_error"],
    [403, "permission_error"],
    [404, "not_found_error"],
    [413, "request_too_large"],
    [429, "rate_limit_error"],
    [503, "overloaded_error"],
  ])
  const type = types.get(status) ?? (status < 500 ? "invalid_request_error" : "api_error")
  return { type: "error", error: { type, message } }
}

/** OpenAI's error object. */
export function errorBody({ status, message, code, param }: HttpError): object {
  const type =
    status === 401
      ? "authentication_error"
      : status < 500
        ? "invalid_request_error"
        : "server_error"
  return { error: { message, type, param, code } }
}
