/** What a policy's functions may read. Reading a field is what makes the compiler produce it. */
export {};
