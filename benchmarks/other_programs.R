# Figures of RJafroc and iMRMC, for the files of a folder and for studies that RJafroc ships; see other_programs.py.
suppressMessages({library(RJafroc); library(iMRMC)})
folder <- commandArgs(trailingOnly = TRUE)[1]
tell <- function(file, name, values) cat(paste(c(basename(file), name, sprintf("%.17g", as.numeric(values))), collapse = "\t"), "\n", sep = "")

cat("RJafroc\tversion\t", as.character(packageVersion("RJafroc")), "\n", sep = "")
cat("iMRMC\tversion\t", as.character(packageVersion("iMRMC")), "\n", sep = "")

# each reader's figure, and the readers' variance and mean covariance over cases by the jackknife
alone <- function(file, data, fom, ...) {
  tell(file, fom, UtilFigureOfMerit(data, FOM = fom, ...)[1, ])
  left <- UtilPseudoValues(data, FOM = fom, ...)$jkFomValues[1, , ]
  count <- ncol(left)
  covariance <- cov(t(left)) * (count - 1)^2 / count
  tell(file, paste(fom, "variance, covariance"),
       c(mean(diag(covariance)), mean(covariance[row(covariance) != col(covariance)])))
}

pair <- function(file, data, fom) {
  found <- St(data, FOM = fom, method = "OR")$RRRC$ciDiffTrt
  many <- dim(data$ratings$NL)[2] >= 5
  told <- c("Estimate", "StdErr", if (many) c("DF", "PrGTt", "CILower", "CIUpper"))
  tell(file, paste(fom, if (many) "difference, error, df, p, low, high" else "difference, error"), unlist(found[1, told]))
}

for (file in Sys.glob(file.path(folder, "*-rjafroc.imrmc"))) alone(file, DfReadDataFile(file, format = "iMRMC"), "Wilcoxon")
for (file in Sys.glob(file.path(folder, "*-two.imrmc"))) pair(file, DfReadDataFile(file, format = "iMRMC"), "Wilcoxon")
for (file in Sys.glob(file.path(folder, "*-words.imrmc"))) {
  found <- doIMRMC(file)$perReader
  for (modality in setdiff(levels(factor(found$modalityA)), "NO_MOD")) {
    own <- found[found$modalityA == modality & found$modalityB == "NO_MOD", ]
    tell(file, paste("AUC", modality), own$AUCA[order(as.integer(as.character(own$readerID)))])
  }
}
for (file in Sys.glob(file.path(folder, "*.xlsx"))) {
  data <- DfReadDataFile(file, newExcelFileFormat = TRUE)
  every <- dim(data$ratings$NL)[3] == dim(data$ratings$LL)[3]
  alone(file, data, if (every) "AFROC1" else "AFROC")
  if (!every) tell(file, "ALROC", UtilFigureOfMerit(DfFroc2Lroc(data), FOM = "ALROC", FPFValue = 1)[1, ])
}

# studies that were published: their ratings as a table, and what RJafroc makes of them
shipped <- function(name, data, modalities, fom) {
  data <- DfExtractDataset(data, trts = modalities)
  NL <- data$ratings$NL; LL <- data$ratings$LL
  if (fom == "ALROC") for (reader in seq_len(dim(NL)[2])) {  # a rating of every image is forced: the lowest is no mark
    low <- min(c(NL[, reader, , ], LL[, reader, , ])[is.finite(c(NL[, reader, , ], LL[, reader, , ]))])
    NL[, reader, , ][NL[, reader, , ] == low] <- -Inf
    LL[, reader, , ][LL[, reader, , ] == low] <- -Inf
  }
  K1 <- dim(NL)[3] - dim(LL)[3]
  rows <- function(values, kind, shift) {
    at <- which(is.finite(values), arr.ind = TRUE)
    data.frame(kind = kind, modality = at[, 1], reader = at[, 2], case = at[, 3] + shift, lesion = at[, 4], rating = values[at])
  }
  write.csv(rbind(rows(NL, "false", 0), rows(LL, "true", K1)), file.path(folder, paste0(name, ".csv")), row.names = FALSE)
  write.csv(data.frame(case = seq_len(dim(NL)[3]), lesions = c(rep(0, K1), data$lesions$perCase)),
            file.path(folder, paste0(name, "-cases.csv")), row.names = FALSE)
  if (length(modalities) == 2) pair(name, data, fom)
  else tell(name, fom, UtilFigureOfMerit(data, FOM = fom, FPFValue = 1)[1, ])
}
shipped("Van Dyke", dataset02, 1:2, "Wilcoxon")
shipped("Federica", dataset04, 4:5, "AFROC")
shipped("Thompson", dataset05, 1:2, "AFROC")
shipped("Nico", datasetCadLroc, 1, "ALROC")
