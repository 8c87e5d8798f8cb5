/** Where parts of a running gateway tell what they do. Fields are facts about the case; never secrets, never bodies of calls. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
