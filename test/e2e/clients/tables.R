# Reads tables below a folder by one of the ways people do, and prints what came.
#
#   Rscript tables.R WAY DIR
args <- commandArgs(trailingOnly = TRUE)
root <- args[2]

show <- function(x) {
  print(dim(x))
  str(x)
  # Every value goes into the sum, at full precision.
  out <- tempfile()
  on.exit(unlink(out))
  saveRDS(as.list(x), out, compress = FALSE)
  cat(unname(tools::md5sum(out)), "\n")
}

ways <- list(
  read.csv = function() show(read.csv(file.path(root, "table.csv"))),
  fread = function() {
    suppressMessages(library(data.table))
    setDTthreads(2)
    show(as.data.frame(fread(file.path(root, "table.csv"), showProgress = FALSE)))
    show(as.data.frame(fread(file.path(root, "table.csv"), select = c("id", "value"), skip = 0, showProgress = FALSE)))
  },
  read.dbf = function() show(foreign::read.dbf(file.path(root, "sample.dbf"), as.is = TRUE))
)
ways[[args[1]]]()
