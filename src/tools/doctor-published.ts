/** The model to get while ds4 does not fetch it itself. */
export const PUBLISHED = {
  repository: "antirez/deepseek-v4-gguf",
  file: "DeepSeek-V4-Flash-IQ2XXS-w2Q2K-AProjQ8-SExpQ8-OutQ8-chat-v2-imatrix.gguf",
  bytes: 86_720_111_488,
  /** Of the same recipe as re-released on July 31, 2026, of exactly `bytes` bytes. */
  sha256July31: "ca22ae2f838e14077c22bc1c1417b71b45b5e5a3687bd96c2ac6e17fdb6261c0",
}
