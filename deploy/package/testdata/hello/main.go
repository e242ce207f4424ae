// Command hello is small enough to be built twice in a test.
package main

func main() {}
